/** Two pods that had the same thing at the same time. */
export interface DoubleLease {
  /** What both had. */
  readonly what: string
  /** Who had it. */
  readonly owner: string
  /** Who got it, too. */
  readonly second: string
}

/**
 * What every pod of a run has. A pod claims what an ADD gave it, and gives it up before its end begins: whatever is given to two pods
 * meanwhile is a double lease.
 */
export class Claims {
  readonly #owners = new Map<string, string>()
  readonly #doubles: DoubleLease[] = []

  /** All double leases so far. */
  get doubles(): readonly DoubleLease[] {
    return this.#doubles
  }

  /** How many things are claimed at the moment. */
  get size(): number {
    return this.#owners.size
  }

  /** Claims things for a pod. What another one has stays that one's. */
  take(owner: string, things: readonly string[]): void {
    for (const what of things) {
      const other = this.#owners.get(what)
      if (other === undefined) this.#owners.set(what, owner)
      else this.#doubles.push({ what, owner: other, second: owner })
    }
  }

  /** Gives up all that a pod has claimed. */
  release(owner: string): void {
    for (const [what, other] of this.#owners) if (other === owner) this.#owners.delete(what)
  }
}
