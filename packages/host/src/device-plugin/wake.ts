import type { Clock } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'

/** Something to wait for. A call that comes before the wait is not lost; many of them count once. */
export class Wake {
  #called = false
  #resolve: (() => void) | undefined

  /** Ends the wait, or the next one. */
  call(): void {
    this.#called = true
    this.#resolve?.()
  }

  /** Resolves when it is called, the signal aborts, or `ms` milliseconds have passed. Never rejects. */
  async wait(signal: AbortSignal, clock: Clock, ms?: number): Promise<void> {
    if (!this.#called && !signal.aborted) {
      const done = new AbortController()
      const called = new Promise<void>((resolve) => (this.#resolve = resolve))
      const ends = AbortSignal.any([signal, done.signal])
      const others = ms === undefined ? aborted(ends) : clock.sleep(ms, ends).catch(() => {})
      await Promise.race([called, others])
      done.abort()
      this.#resolve = undefined
    }
    this.#called = false
  }
}

/** Calls all who wait for the same thing. */
export class Changes {
  readonly #subscribers = new Set<() => void>()

  /** Something has changed. */
  readonly notify = (): void => {
    for (const call of this.#subscribers) call()
  }

  /** Tells each change from now on until it is disposed. */
  subscribe(call: () => void): Disposable {
    // Not the caller's function itself: the same one may be subscribed twice.
    const own = (): void => call()
    this.#subscribers.add(own)
    return { [Symbol.dispose]: () => void this.#subscribers.delete(own) }
  }
}
