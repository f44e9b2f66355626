import { type Clock, systemClock } from '@cni-offload/sdk'

/** Time that passes several times as fast. */
export class FastClock implements Clock {
  /** Pauses that were asked for, milliseconds. */
  readonly pauses: number[] = []
  readonly #factor: number

  constructor(factor: number) {
    this.#factor = factor
  }

  now(): number {
    return systemClock.now() * this.#factor
  }

  monotonic(): number {
    return systemClock.monotonic() * this.#factor
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.pauses.push(ms)
    return systemClock.sleep(ms / this.#factor, signal)
  }
}

/** Time that passes only when it is told to. */
export class ManualClock implements Clock {
  #now = 0
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>()

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  /** How many wait for time to pass. */
  get sleeping(): number {
    return this.#sleepers.size
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { until: this.#now + ms, wake: resolve }
      this.#sleepers.add(sleeper)
      signal.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper)
        reject(signal.reason as Error)
      })
    })
  }

  advance(ms: number): void {
    this.#now += ms
    for (const sleeper of this.#sleepers)
      if (sleeper.until <= this.#now) {
        this.#sleepers.delete(sleeper)
        sleeper.wake()
      }
  }

  /** Moves on to when the first of the sleepers wakes, unless that is further away than `longest` milliseconds. */
  leap(longest: number): void {
    const next = Math.min(...[...this.#sleepers].map(({ until }) => until))
    if (next - this.#now <= longest) this.advance(next - this.#now)
  }
}
