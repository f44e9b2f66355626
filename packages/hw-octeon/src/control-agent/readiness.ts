import type { AgentLine } from './log-line.ts'

/** Which functions the host may use, by what the control agent says. */
export class AgentReadiness {
  readonly #functions = new Map<string, boolean>()
  readonly #expected: number
  #reset = false
  #stuck: string | undefined

  /** @param expected - number of physical functions in its configuration */
  constructor(expected: number) {
    this.#expected = expected
  }

  /** Takes a line. */
  note(line: AgentLine): void {
    switch (line.kind) {
      case 'fw-ready':
        this.#functions.set(`${line.pem}/${line.pf}`, line.ready)
        // A function that is ready after a reset has survived it.
        if (line.ready) this.#reset = false
        return
      case 'host-reset':
      case 'reinit':
        this.#reset = true
        return
      case 'reset-failed':
        this.#stuck = `it could not set up PCI link ${line.pem} again after the host was reset, and goes on without heartbeats`
        return
      default:
    }
  }

  /** Whether the host may use all functions. */
  get ready(): boolean {
    const states = [...this.#functions.values()]
    return this.#stuck === undefined && states.length >= this.#expected && states.every(Boolean)
  }

  /** Why it is of no use any more though it runs; undefined while there is hope. */
  get stuck(): string | undefined {
    return this.#stuck
  }

  /** Why it is not ready. */
  get reason(): string {
    return this.#stuck ?? (this.#reset ? 'the host is being reset' : 'its firmware is not ready')
  }
}
