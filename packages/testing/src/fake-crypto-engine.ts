import type { CryptoCounters, CryptoEngine } from '@cni-offload/sdk'

/** A crypto engine without hardware: it counts what the test tells it. */
export class FakeCryptoEngine implements CryptoEngine {
  readonly offload: CryptoEngine['offload']
  /** What is thrown when its counters are read; nothing by default. */
  failure: Error | undefined
  #counters: { packets: bigint; bytes: bigint; errors: bigint }
  readonly #counts: 'packets' | 'requests'

  /**
   * @param offload - how it takes part
   * @param start - what it has counted already
   * @param counts - whether it tells packets and their bytes, or only how often it was asked, as look-aside engines do
   */
  constructor(
    offload: CryptoEngine['offload'] = 'lookaside',
    start: Partial<Record<'packets' | 'bytes' | 'errors', bigint>> = {},
    counts: 'packets' | 'requests' = 'packets',
  ) {
    this.offload = offload
    this.#counters = { packets: 0n, bytes: 0n, errors: 0n, ...start }
    this.#counts = counts
  }

  /** Packets went through it. */
  process(packets: bigint, bytes: bigint = packets * 1500n, errors = 0n): void {
    const { packets: hadPackets, bytes: hadBytes, errors: hadErrors } = this.#counters
    this.#counters = { packets: hadPackets + packets, bytes: hadBytes + bytes, errors: hadErrors + errors }
  }

  counters(): Promise<CryptoCounters> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    const { packets, errors } = this.#counters
    return Promise.resolve(this.#counts === 'packets' ? this.#counters : { requests: packets, errors })
  }
}
