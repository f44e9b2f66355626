import type { CryptoEngine } from '@cni-offload/sdk'

/** What a crypto engine counts. */
export type CryptoCounters = Awaited<ReturnType<CryptoEngine['counters']>>

/** A crypto engine without hardware: it counts what the test tells it. */
export class FakeCryptoEngine implements CryptoEngine {
  readonly offload: CryptoEngine['offload']
  /** What is thrown when its counters are read; nothing by default. */
  failure: Error | undefined
  #counters: CryptoCounters

  /** @param offload - how it takes part @param start - what it has counted already */
  constructor(offload: CryptoEngine['offload'] = 'lookaside', start: Partial<CryptoCounters> = {}) {
    this.offload = offload
    this.#counters = { packets: 0n, bytes: 0n, errors: 0n, ...start }
  }

  /** Packets went through it. */
  process(packets: bigint, bytes: bigint = packets * 1500n, errors = 0n): void {
    const { packets: hadPackets, bytes: hadBytes, errors: hadErrors } = this.#counters
    this.#counters = { packets: hadPackets + packets, bytes: hadBytes + bytes, errors: hadErrors + errors }
  }

  counters(): Promise<CryptoCounters> {
    return this.failure === undefined ? Promise.resolve(this.#counters) : Promise.reject(this.failure)
  }
}
