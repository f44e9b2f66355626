import { type Clock, systemClock } from '@cni-offload/sdk'

/** A clock that stands still until it is moved on. */
export class ManualClock implements Clock {
  #elapsed = 0
  readonly #sleepers = new Set<{ readonly at: number; wake(): void }>()
  readonly #epoch = systemClock.now()

  now(): number {
    return this.#epoch + this.#elapsed
  }

  monotonic(): number {
    return this.#elapsed
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const sleeper = { at: this.#elapsed + ms, wake: resolve }
    const abort = (): void => reject(signal.reason as Error)
    this.#sleepers.add(sleeper)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      this.#sleepers.delete(sleeper)
      signal.removeEventListener('abort', abort)
    }
  }

  /** Moves on, and wakes whoever has slept long enough. */
  advance(ms: number): void {
    this.#elapsed += ms
    for (const sleeper of this.#sleepers) if (sleeper.at <= this.#elapsed) sleeper.wake()
  }
}
