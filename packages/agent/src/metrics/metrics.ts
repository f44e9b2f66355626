import type { CryptoEngine } from '@cni-offload/sdk'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { AttachmentPhase } from '../journal/types.ts'
import type { HostState } from '../service/host-presence.ts'
import { observeCryptoEngine } from './crypto-engine.ts'

/** What gauges show at the moment when they are asked. */
export interface GaugeSources {
  /** Attachments by state. */
  attachments(): Readonly<Record<AttachmentPhase, number>>
  /** Detaches that wait for a retry. */
  retrying(): number
  /** How the host stands. */
  host(): HostState
  /** The hardware's crypto engine, where it has one. */
  readonly crypto?: CryptoEngine | undefined
}

/** Metrics of one agent, in a registry of its own. */
export class AgentMetrics {
  /** Where they are registered. */
  readonly registry: Registry = new Registry()
  /** Duration of calls by method and outcome (`OK` or an error code). */
  readonly callSeconds: Histogram<'method' | 'outcome'>
  /** Journals that could not be read when this agent started and were set aside. */
  readonly unreadable: Counter
  /** What resyncs did, by action. */
  readonly resyncEvents: Counter<'action'>
  /** What the reconciler did about drift, by action and outcome. */
  readonly repairs: Counter<'action' | 'outcome'>

  /** Registers everything; gauges stay at 0 until {@link observe} was called. */
  constructor() {
    const registers = [this.registry]
    this.callSeconds = new Histogram({
      name: 'cni_offload_agent_call_duration_seconds',
      help: 'Duration of offload.v1 calls by method and outcome.',
      labelNames: ['method', 'outcome'],
      buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    })
    this.unreadable = new Counter({
      name: 'cni_offload_agent_journal_unreadable_total',
      help: 'Journals that could not be read and were set aside.',
      registers,
    })
    this.resyncEvents = new Counter({
      name: 'cni_offload_agent_resync_events_total',
      help: 'What resyncs did with attachments, by action.',
      labelNames: ['action'],
      registers,
    })
    this.repairs = new Counter({
      name: 'cni_offload_agent_reconciler_actions_total',
      help: 'What the reconciler did about drift, by action and outcome.',
      labelNames: ['action', 'outcome'],
      registers,
    })
  }

  /** Adds the gauges, which are read from the sources at each scrape. */
  observe(sources: GaugeSources): void {
    const registers = [this.registry]
    new Gauge({
      name: 'cni_offload_agent_attachments',
      help: 'Attachments in the journal by state.',
      labelNames: ['state'],
      registers,
      collect() {
        for (const [state, count] of Object.entries(sources.attachments())) this.set({ state }, count)
      },
    })
    new Gauge({
      name: 'cni_offload_agent_host_connected',
      help: '1 while the host beats, 0 while it does not or never did.',
      registers,
      collect() {
        this.set(sources.host() === 'there' ? 1 : 0)
      },
    })
    new Gauge({
      name: 'cni_offload_agent_detach_retries',
      help: 'Failed detaches that wait to be retried.',
      registers,
      collect() {
        this.set(sources.retrying())
      },
    })
    if (sources.crypto !== undefined) observeCryptoEngine(this.registry, sources.crypto)
  }
}
