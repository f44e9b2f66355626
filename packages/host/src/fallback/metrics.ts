import { Counter, Gauge, type Registry } from 'prom-client'
import type { FallbackReason } from './plan.ts'
import type { FallbackPhase } from './types.ts'

/** Prometheus metrics of attachments on the host's network. */
export class FallbackMetrics {
  readonly #began: Counter<'reason'>

  /** @param counts - read at each scrape */
  constructor(registry: Registry, counts: () => Readonly<Record<FallbackPhase, number>>) {
    const registers = [registry]
    this.#began = new Counter({
      name: 'cni_offload_host_fallback_total',
      help: 'Attachments that got the network of the host, by reason',
      labelNames: ['reason'],
      registers,
    })
    const held: Gauge<'phase'> = new Gauge({
      name: 'cni_offload_host_fallback_attachments',
      help: 'Attachments on the network of the host by phase; they stay there until their pods end',
      labelNames: ['phase'],
      registers,
      collect: () => {
        for (const [phase, count] of Object.entries(counts())) held.set({ phase }, count)
      },
    })
  }

  /** Notes that an attachment got the network of the host. */
  added(reason: FallbackReason): void {
    this.#began.inc({ reason })
  }
}
