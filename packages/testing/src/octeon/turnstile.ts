/** Lets one change at a time through, in the order in which they came: the locks of the kernel and its drivers, as one. */
export class Turnstile {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `change` when all before it have ended. */
  async run<T>(change: () => T | Promise<T>): Promise<T> {
    const mine = this.#last.then(change)
    this.#last = mine.catch(() => {})
    return await mine
  }
}
