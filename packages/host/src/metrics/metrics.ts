import type { ResyncEvent } from '@cni-offload/protocol'
import type { RepairRecord } from '@cni-offload/sdk'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { JournalCounts } from '../journal/types.ts'
import type { RequestOutcome } from '../server/dispatch.ts'

/** Seconds; from the fastest STATUS to the longest ADD. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** The daemon's Prometheus metrics, in a registry of their own. */
export class HostMetrics {
  /** All metrics. */
  readonly registry: Registry = new Registry()
  /** Journals that could not be read when this daemon started and were set aside. */
  readonly unreadable: Counter
  readonly #verbs: Histogram<'verb' | 'code'>
  readonly #stages: Histogram<'verb' | 'stage'>
  readonly #connected: Gauge
  readonly #resync: Counter<'action'>
  readonly #repairs: Counter<'action' | 'outcome'>

  /**
   * @param counts - read at each scrape
   * @param oldestMs - for how long the oldest clean-up has waited, likewise
   */
  constructor(counts: () => JournalCounts, oldestMs: () => number) {
    const registers = [this.registry]
    this.#verbs = new Histogram({
      name: 'cni_offload_host_request_seconds',
      help: 'Duration of CNI calls by verb and error code (OK if there was none)',
      labelNames: ['verb', 'code'],
      buckets: BUCKETS,
      registers,
    })
    this.#stages = new Histogram({
      name: 'cni_offload_host_stage_seconds',
      help: 'Duration of the stages of CNI calls; stages may overlap',
      labelNames: ['verb', 'stage'],
      buckets: BUCKETS,
      registers,
    })
    this.#connected = new Gauge({ name: 'cni_offload_host_agent_connected', help: '1 while calls to the agent pass', registers })
    this.unreadable = new Counter({
      name: 'cni_offload_host_journal_unreadable_total',
      help: 'Journals that could not be read and were set aside',
      registers,
    })
    this.#resync = new Counter({
      name: 'cni_offload_host_resync_total',
      help: 'Attachments that resyncs looked at, by what the agent did',
      labelNames: ['action'],
      registers,
    })
    this.#repairs = new Counter({
      name: 'cni_offload_host_reconciler_actions_total',
      help: 'What the reconciler did about drift, by action and outcome',
      labelNames: ['action', 'outcome'],
      registers,
    })
    const vfs: Gauge<'state'> = new Gauge({
      name: 'cni_offload_host_vfs',
      help: 'VFs by state',
      labelNames: ['state'],
      registers,
      collect: () => {
        for (const [state, count] of Object.entries(counts().vfs)) vfs.set({ state }, count)
      },
    })
    const queue: Gauge = new Gauge({
      name: 'cni_offload_host_detach_queue',
      help: 'Ended attachments that are not confirmed to be clean on both sides yet',
      registers,
      collect: () => queue.set(counts().queue),
    })
    const oldest: Gauge = new Gauge({
      name: 'cni_offload_host_detach_queue_oldest_seconds',
      help: 'For how long the oldest of them has waited since this daemon knows of it',
      registers,
      collect: () => oldest.set(oldestMs() / 1000),
    })
  }

  /** Notes a call. */
  observe({ verb, code, ms, stages }: RequestOutcome): void {
    this.#verbs.observe({ verb, code }, ms / 1000)
    for (const [stage, took] of Object.entries(stages)) this.#stages.observe({ verb, stage }, took / 1000)
  }

  /** Notes whether calls to the agent pass. */
  connected(connected: boolean): void {
    this.#connected.set(connected ? 1 : 0)
  }

  /** Notes what the reconciler did. */
  repaired({ action, outcome }: RepairRecord): void {
    this.#repairs.inc({ action, outcome })
  }

  /** Notes what a resync did to an attachment. */
  resynced({ action }: ResyncEvent): void {
    this.#resync.inc({ action })
  }
}
