import { OffloadError } from '@cni-offload/sdk'

/**
 * Lets calls to the agent pass while host and agent agree on what exists, and keeps them back while they do not: between
 * the loss of the connection and the end of the resync that follows the next one.
 */
export class Gate {
  readonly #waiting = new Set<() => void>()
  #open = false
  #inside = 0
  #emptied: (() => void) | undefined

  /** Whether calls pass. */
  get isOpen(): boolean {
    return this.#open
  }

  /** Lets waiting calls in. */
  open(): void {
    this.#open = true
    for (const admit of this.#waiting) admit()
    this.#waiting.clear()
  }

  /** Keeps further calls out; those inside go on. */
  close(): void {
    this.#open = false
  }

  /** Resolves when no call is inside. Only one caller may wait at a time. @throws the signal's reason */
  async emptied(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#inside === 0) return
    await settled(signal, (resolve) => {
      this.#emptied = resolve
      return () => (this.#emptied = undefined)
    })
  }

  /** Passes the gate, waiting while it is closed. Dispose the result to leave. @throws the signal's reason */
  async enter(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    while (!this.#open) {
      await settled(signal, (resolve) => {
        this.#waiting.add(resolve)
        return () => this.#waiting.delete(resolve)
      })
    }
    this.#inside++
    let left = false
    return {
      [Symbol.dispose]: () => {
        if (left) return
        left = true
        this.#inside--
        if (this.#inside === 0) this.#emptied?.()
      },
    }
  }
}

/** A promise that something else resolves, or the signal rejects; `register` returns how to take the resolver back. */
function settled(signal: AbortSignal, register: (resolve: () => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      withdraw()
      reject(signal.reason instanceof Error ? signal.reason : new OffloadError('CANCELLED', String(signal.reason)))
    }
    const withdraw = register(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    signal.addEventListener('abort', abort, { once: true })
  })
}
