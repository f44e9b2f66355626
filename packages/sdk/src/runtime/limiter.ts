type Admit = () => void

/** Lets at most `limit` holders in at a time; the others wait in the order in which they came. */
export class Limiter {
  /** How many may be in at a time. */
  readonly limit: number
  /** Insertion-ordered, so that leaving the queue in the middle costs no more than leaving it at its head. */
  readonly #queue = new Set<Admit>()
  #active = 0

  /** @throws RangeError if `limit` is not an integer of at least 1 */
  constructor(limit: number) {
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`limit = ${limit}: an integer of at least 1 is needed`)
    this.limit = limit
  }

  /** How many are in. */
  get active(): number {
    return this.#active
  }

  /** How many wait. */
  get waiting(): number {
    return this.#queue.size
  }

  /**
   * Waits for admission. Dispose what it returns to leave; a second time does nothing.
   *
   * @throws the signal's reason when it aborts first; the place in the queue is given up then
   */
  async acquire(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#active < this.limit && this.#queue.size === 0) this.#active++
    else await this.#wait(signal)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#release()
      },
    }
  }

  /** Runs `fn` once admitted. @throws the signal's reason when it aborts before; afterwards whatever `fn` throws */
  async run<T>(signal: AbortSignal, fn: () => T | PromiseLike<T>): Promise<T> {
    using _admission = await this.acquire(signal)
    return await fn()
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = (): void => {
        signal.removeEventListener('abort', abort)
        resolve()
      }
      const abort = (): void => {
        this.#queue.delete(admit)
        reject(signal.reason as Error)
      }
      this.#queue.add(admit)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  /** The place goes straight to the next in line: `active` does not drop in between, so nobody can jump the queue. */
  #release(): void {
    const next = this.#queue.values().next()
    if (next.done === true) {
      this.#active--
      return
    }
    this.#queue.delete(next.value)
    next.value()
  }
}
