import { setTimeout as sleep } from 'node:timers/promises'
import type { CryptoEngine } from '@cni-offload/sdk'
import { Counter, type Registry } from 'prom-client'

/** Name of the metric of a crypto engine; its labels are `offload` and `counted`: `packets` or `requests`, `bytes`, `errors`. */
export const CRYPTO_ENGINE_METRIC = 'cni_offload_agent_crypto_engine_total'

/** Longest that a scrape waits for an engine, milliseconds. */
const PATIENCE_MS = 2_000

/**
 * Adds what a crypto engine counts, read at each scrape, all of it at once. While the engine cannot be read there is no sample: the
 * rest of the metrics must not go with it.
 */
export function observeCryptoEngine(registry: Registry, engine: CryptoEngine): void {
  new Counter({
    name: CRYPTO_ENGINE_METRIC,
    help: "What the hardware's crypto engine counts: packets, or requests by whomever; bytes; errors. By how the engine takes part.",
    labelNames: ['offload', 'counted'],
    registers: [registry],
    async collect() {
      const counters = await Promise.race([engine.counters(), sleep(PATIENCE_MS, undefined, { ref: false })]).catch(() => undefined)
      this.reset()
      // What takes part may change with what is plugged in, and shows when it is read.
      const { offload } = engine
      for (const [counted, value] of Object.entries(counters ?? {})) if (value !== undefined) this.inc({ offload, counted }, Number(value))
    },
  })
}
