/** How long a request takes: `move` ones wait for RCU in the kernel (12–20 ms), `short` ones do not (< 1 ms). */
export type RequestClass = 'short' | 'move'

/**
 * Two first-in-first-out lines. Short requests overtake moves, but after `fairness` of them in a row a waiting move gets its
 * turn.
 */
export class RequestQueue<T> {
  readonly #lines: Record<RequestClass, T[]> = { short: [], move: [] }
  readonly #fairness: number
  #overtaken = 0

  constructor(fairness = 64) {
    this.#fairness = fairness
  }

  /** Number of waiting requests. */
  get length(): number {
    return this.#lines.short.length + this.#lines.move.length
  }

  /** Appends to the line of a class. */
  push(request: T, kind: RequestClass): void {
    this.#lines[kind].push(request)
  }

  /** Takes the next request out, undefined if none waits. */
  take(): T | undefined {
    const { short, move } = this.#lines
    const movesTurn = short.length === 0 || (move.length > 0 && this.#overtaken >= this.#fairness)
    this.#overtaken = movesTurn || move.length === 0 ? 0 : this.#overtaken + 1
    return (movesTurn ? move : short).shift()
  }

  /** Takes all requests out. */
  drain(): T[] {
    return [...this.#lines.short.splice(0), ...this.#lines.move.splice(0)]
  }
}
