/** What goes on by itself on a machine: ends, and is waited for, when it is disposed. */
export class Background implements AsyncDisposable {
  readonly #end = new AbortController()
  readonly #running = new Set<Promise<void>>()

  /** Starts something. @returns how to stop it, which does not wait for its end */
  start(work: (signal: AbortSignal) => Promise<void>): () => void {
    const own = new AbortController()
    const signal = AbortSignal.any([own.signal, this.#end.signal])
    const running = work(signal)
      .catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    return () => own.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await Promise.allSettled(this.#running)
  }
}
