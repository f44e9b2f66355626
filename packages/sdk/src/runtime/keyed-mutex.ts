import { Limiter } from './limiter.ts'

/** A lock per key: one holder at a time for equal keys, first come first served; different keys never wait for each other. */
export class KeyedMutex<K = string> {
  readonly #locks = new Map<K, Limiter>()

  /** How many keys are held or waited for; 0 when idle. */
  get size(): number {
    return this.#locks.size
  }

  /** Whether somebody holds the key. */
  isLocked(key: K): boolean {
    return this.#locks.has(key)
  }

  /**
   * Waits for the key. Dispose what it returns to unlock; a second time does nothing.
   *
   * @throws the signal's reason when it aborts first; the place in the queue is given up then
   */
  async acquire(key: K, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    let lock = this.#locks.get(key)
    if (lock === undefined) this.#locks.set(key, (lock = new Limiter(1)))
    const held = await lock.acquire(signal)
    return {
      [Symbol.dispose]: () => {
        held[Symbol.dispose]()
        if (lock.active === 0 && this.#locks.get(key) === lock) this.#locks.delete(key)
      },
    }
  }

  /** Runs `fn` while holding the key. @throws the signal's reason when it aborts before; afterwards whatever `fn` throws */
  async run<T>(key: K, signal: AbortSignal, fn: () => T | PromiseLike<T>): Promise<T> {
    using _lock = await this.acquire(key, signal)
    return await fn()
  }
}
