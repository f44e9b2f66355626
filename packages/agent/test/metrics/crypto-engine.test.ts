import type { CryptoEngine } from '@cni-offload/sdk'
import { describe, expect, test, vi } from 'vitest'
import { Bench } from '../support/bench.ts'

const NAME = 'cni_offload_agent_crypto_engine_total'
const samples = (text: string): string[] => text.split('\n').filter((line) => line.startsWith(NAME))

describe("the hardware's crypto engine", () => {
  test('is shown as it counts at each scrape', async () => {
    let packets = 5n
    const engine: CryptoEngine = { offload: 'inline', counters: () => Promise.resolve({ packets, bytes: 700n, errors: 0n }) }
    await using bench = await Bench.start({ crypto: engine })
    const scrape = async (): Promise<string[]> => samples(await bench.runtime.metrics.registry.metrics())
    expect(await scrape()).toEqual([
      `${NAME}{offload="inline",counted="packets"} 5`,
      `${NAME}{offload="inline",counted="bytes"} 700`,
      `${NAME}{offload="inline",counted="errors"} 0`,
    ])
    packets = 9n
    expect(await scrape()).toContain(`${NAME}{offload="inline",counted="packets"} 9`)
  })

  test('tells what it counts and nothing else, and how it takes part by then', async () => {
    const engine = {
      offload: 'none' as CryptoEngine['offload'],
      counters: () => Promise.resolve({ requests: 3n, errors: 0n }).finally(() => (engine.offload = 'lookaside')),
    }
    await using bench = await Bench.start({ crypto: engine })
    expect(samples(await bench.runtime.metrics.registry.metrics())).toEqual([
      `${NAME}{offload="lookaside",counted="requests"} 3`,
      `${NAME}{offload="lookaside",counted="errors"} 0`,
    ])
  })

  test('that fails, or hangs, takes nothing else with it', async () => {
    const counters = vi.fn<CryptoEngine['counters']>()
    await using bench = await Bench.start({ crypto: { offload: 'lookaside', counters } })
    counters.mockResolvedValueOnce({ packets: 1n, bytes: 1n, errors: 0n }).mockRejectedValueOnce(new Error('gone'))
    expect(samples(await bench.runtime.metrics.registry.metrics())).toHaveLength(3)
    for (const how of ['fails', 'hangs']) {
      if (how === 'hangs') counters.mockReturnValueOnce(new Promise(() => {}))
      const text = await bench.runtime.metrics.registry.metrics()
      expect(samples(text), how).toEqual([])
      expect(text, how).toContain('cni_offload_agent_detach_retries 0')
    }
  })

  test('that is not there is not shown', async () => {
    await using bench = await Bench.start()
    expect(await bench.runtime.metrics.registry.metrics()).not.toContain(NAME)
  })
})
