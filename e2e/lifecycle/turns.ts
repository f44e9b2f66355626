import { type Clock, OffloadError } from '@cni-offload/sdk'

/** One run of a daemon. Once it is killed nothing of it goes on, as after a SIGKILL. */
export class Life {
  readonly name: string
  /** Whether it still starts: real files are opened then, so that it may be at work without waiting for a turn. */
  starting = true
  readonly #gone = new AbortController()

  constructor(name: string) {
    this.name = name
  }

  get dead(): boolean {
    return this.#gone.signal.aborted
  }

  /** Aborted by its death: what others notice of it. */
  get gone(): AbortSignal {
    return this.#gone.signal
  }

  die(): void {
    this.#gone.abort(new OffloadError('AGENT_UNREACHABLE', `${this.name} has died`))
  }
}

interface Waiting {
  readonly life: Life
  readonly what: string
  go(): void
}

interface Sleeper {
  readonly at: number
  readonly life: Life | undefined
  wake(): void
}

/**
 * Decides who goes on next and what time it is: every part of every daemon waits here before and after it does something,
 * and nothing else takes time. The same decisions give the same run.
 */
export class Turns {
  /** What happened, in order. */
  readonly trace: string[] = []
  readonly #lives = new Set<Life>()
  #waiting: Waiting[] = []
  #sleepers: Sleeper[] = []
  #now = 1_000_000

  get size(): number {
    return this.#waiting.length
  }

  born(life: Life): void {
    this.#lives.add(life)
  }

  /** Nothing of it gets a turn or wakes up any more. */
  kill(life: Life): void {
    this.#lives.delete(life)
    this.#waiting = this.#waiting.filter((each) => each.life !== life)
    this.#sleepers = this.#sleepers.filter((each) => each.life !== life)
    life.die()
  }

  /** Resolves when it is this one's turn; never if its daemon is dead. */
  turn(life: Life, what: string): Promise<void> {
    return new Promise((go) => {
      if (!life.dead) this.#waiting.push({ life, what, go })
    })
  }

  /** Lets the one at a position of the queue go on. */
  next(at: number): void {
    const [chosen] = this.#waiting.splice(at, 1)
    if (chosen === undefined) return
    this.trace.push(`  ${chosen.life.name}: ${chosen.what}`)
    chosen.go()
  }

  /** Resolves when everybody waits: for a turn, for time to pass, or for somebody else. */
  async idle(): Promise<void> {
    const busy = (life: Life): boolean => life.starting && !this.#waiting.some((each) => each.life === life)
    do {
      // Twice: what runs now may itself wait for the next turn of the event loop.
      for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve))
    } while ([...this.#lives].some(busy))
  }

  /** Lets time pass, and wakes in their order all whose time has come. */
  advance(ms: number): void {
    this.#now += ms
    const due = this.#sleepers.filter(({ at }) => at <= this.#now).toSorted((a, b) => a.at - b.at)
    this.#sleepers = this.#sleepers.filter((sleeper) => !due.includes(sleeper))
    for (const { wake } of due) wake()
  }

  /** The time of one daemon. */
  clock(life: Life): Clock {
    return {
      now: () => this.#now,
      monotonic: () => this.#now,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal.aborted) return reject(signal.reason as Error)
          if (life.dead) return
          const sleeper = { at: this.#now + ms, life, wake: resolve }
          this.#sleepers.push(sleeper)
          signal.addEventListener('abort', () => {
            this.#sleepers = this.#sleepers.filter((each) => each !== sleeper)
            reject(signal.reason as Error)
          })
        }),
    }
  }

  /** Stands in for `AbortSignal.timeout`: deadlines pass when this time does. */
  timeout(ms: number): AbortSignal {
    const controller = new AbortController()
    const wake = (): void => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'))
    this.#sleepers.push({ at: this.#now + ms, life: undefined, wake })
    return controller.signal
  }
}
