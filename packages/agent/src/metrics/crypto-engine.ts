import { setTimeout as sleep } from 'node:timers/promises'
import type { CryptoEngine } from '@cni-offload/sdk'
import { Counter, type Registry } from 'prom-client'

/** Name of the metric of a crypto engine; its labels are `offload` and `counted`: `packets`, `bytes` or `errors`. */
export const CRYPTO_ENGINE_METRIC = 'cni_offload_agent_crypto_engine_total'

/** Longest that a scrape waits for an engine, milliseconds. */
const PATIENCE_MS = 2_000

/**
 * Adds what a crypto engine counts, read at each scrape, all of it at once. While the engine cannot be read there is no sample: the
 * rest of the metrics must not go with it.
 */
export function observeCryptoEngine(registry: Registry, engine: CryptoEngine): void {
  const { offload } = engine
  new Counter({
    name: CRYPTO_ENGINE_METRIC,
    help: "Packets, bytes and errors of the hardware's crypto engine, by what is counted and how the engine takes part.",
    labelNames: ['offload', 'counted'],
    registers: [registry],
    async collect() {
      const counters = await Promise.race([engine.counters(), sleep(PATIENCE_MS, undefined, { ref: false })]).catch(() => undefined)
      this.reset()
      for (const [counted, value] of Object.entries(counters ?? {})) this.inc({ offload, counted }, Number(value))
    },
  })
}
