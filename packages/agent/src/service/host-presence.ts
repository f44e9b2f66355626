import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { type AgentBeat, type HostBeat, pulse, untilSilent } from '@cni-offload/protocol'
import type { AgentLimits } from '../limits.ts'

/**
 * How the host stands. `unknown`: no heartbeat yet, or it sends none. `there`: it beats. `stopped`: it has said that it stops.
 * `lost`: its beats have ended without a word.
 */
export type HostState = 'unknown' | 'there' | 'stopped' | 'lost'

/** What a {@link HostPresence} works with. */
export interface HostPresenceDeps {
  /** Time. */
  readonly clock: Clock
  /** Times between beats. */
  readonly limits: Pick<AgentLimits, 'beatMs' | 'silenceMs'>
  /** Log. */
  readonly log: Logger
}

/** The agent's end of the heartbeats: it beats, listens, and knows whether the host is there. Pods do not depend on it. */
export class HostPresence {
  readonly #deps: HostPresenceDeps
  readonly #restarting = new AbortController()
  /** The newest conversation: what becomes of an older one says nothing about the host. */
  #newest: object = this
  #state: HostState = 'unknown'
  #since: number

  /** Knows of no host yet. */
  constructor(deps: HostPresenceDeps) {
    this.#deps = deps
    this.#since = deps.clock.monotonic()
  }

  /** How the host stands. */
  get state(): HostState {
    return this.#state
  }

  /** For people: how the host stands and for how long. */
  get text(): string {
    if (this.#state === 'unknown') return 'host not heard of yet'
    const s = Math.round((this.#deps.clock.monotonic() - this.#since) / 1000)
    return this.#state === 'there' ? 'host connected' : `host ${this.#state} for ${s} s`
  }

  /** Ends all conversations, after having told the host that this agent is restarting. */
  restarting(): void {
    this.#restarting.abort()
  }

  /**
   * Beats and listens until the host stops or this agent restarts.
   *
   * @throws OffloadError AGENT_UNREACHABLE when the host falls silent; whatever the connection fails with
   */
  async *meet(beats: AsyncIterable<HostBeat>, signal: AbortSignal): AsyncGenerator<AgentBeat, void, undefined> {
    const { clock, limits } = this.#deps
    const conversation = (this.#newest = {})
    const over = new AbortController()
    const heard = this.#listen(beats, conversation, AbortSignal.any([signal, over.signal])).finally(() => over.abort())
    heard.catch(() => {})
    this.#become(conversation, 'there')
    try {
      for await (const _beat of pulse(clock, limits.beatMs, AbortSignal.any([over.signal, this.#restarting.signal])))
        yield { restarting: false }
      if (this.#restarting.signal.aborted) yield { restarting: true }
      else await heard
    } finally {
      over.abort()
    }
  }

  async #listen(beats: AsyncIterable<HostBeat>, conversation: object, signal: AbortSignal): Promise<void> {
    const { clock, limits } = this.#deps
    try {
      for await (const { stopping } of untilSilent(beats, { clock, silenceMs: limits.silenceMs, who: 'the host' }, signal))
        if (stopping) return this.#become(conversation, 'stopped')
      throw new OffloadError('CANCELLED', 'the host has ended its heartbeats')
    } catch (error) {
      if (!this.#restarting.signal.aborted) this.#become(conversation, 'lost', error)
      throw error
    }
  }

  #become(conversation: object, state: HostState, error?: unknown): void {
    const { clock, log } = this.#deps
    if (conversation !== this.#newest || state === this.#state) return
    this.#state = state
    this.#since = clock.monotonic()
    if (state === 'lost') log.warn({ err: error }, 'host lost; pods go on')
    else log.info({}, state === 'there' ? 'host is there' : 'host stops')
  }
}
