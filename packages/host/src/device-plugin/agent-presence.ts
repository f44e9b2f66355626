import type { Clock } from '@cni-offload/sdk'

/** What an {@link AgentPresence} is made of. */
export interface AgentPresenceDeps {
  /** How long the agent may be away, in milliseconds; `never` is for ever. */
  readonly graceMs: number | 'never'
  /** Time. */
  readonly clock: Clock
  /** Told when {@link AgentPresence.serving} has changed. */
  readonly changed: () => void
  /** Ends it. */
  readonly signal: AbortSignal
}

/** Whether the DPU's agent counts as there: a short absence does not matter, since pods only wait for it. */
export class AgentPresence {
  readonly #deps: AgentPresenceDeps
  #serving = true
  #back = new AbortController()

  /** The agent counts as away from now on, until it is connected for the first time. */
  constructor(deps: AgentPresenceDeps) {
    this.#deps = deps
    void this.#wait()
  }

  /** Whether pods should be sent here. */
  get serving(): boolean {
    return this.#serving
  }

  /** Notes whether calls to the agent pass. */
  connected(connected: boolean): void {
    this.#back.abort()
    if (connected) return this.#become(true)
    this.#back = new AbortController()
    void this.#wait()
  }

  async #wait(): Promise<void> {
    const { graceMs, clock, signal } = this.#deps
    if (graceMs === 'never') return
    const gone = await clock.sleep(graceMs, AbortSignal.any([signal, this.#back.signal])).then(
      () => true,
      () => false,
    )
    if (gone) this.#become(false)
  }

  #become(serving: boolean): void {
    if (serving === this.#serving) return
    this.#serving = serving
    this.#deps.changed()
  }
}
