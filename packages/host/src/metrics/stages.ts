import type { Clock } from '@cni-offload/sdk'

/** How long each stage of a request took. Stages may overlap: they add up to more than the whole then. */
export class Stages {
  readonly #clock: Clock
  readonly #ms: Record<string, number> = {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs a stage and notes its time, also when it fails. */
  async time<T>(stage: string, work: () => T | PromiseLike<T>): Promise<T> {
    const from = this.#clock.monotonic()
    try {
      return await work()
    } finally {
      this.#ms[stage] = (this.#ms[stage] ?? 0) + this.#clock.monotonic() - from
    }
  }

  /** Milliseconds per stage. */
  get ms(): Readonly<Record<string, number>> {
    return this.#ms
  }

  /** Milliseconds per stage, rounded for people. */
  get rounded(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#ms).map(([stage, ms]) => [stage, Math.round(ms * 100) / 100]))
  }
}
