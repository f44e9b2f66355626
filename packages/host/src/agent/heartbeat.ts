import { type AgentBeat, HEARTBEAT, type HandshakeReply, type HostBeat, type OffloadApi, pulse, untilSilent } from '@cni-offload/protocol'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import type { HostLimits } from '../limits.ts'

/** What a {@link Heartbeat} works with. */
export interface HeartbeatDeps {
  /** The way to the agent. */
  readonly client: Pick<OffloadApi, 'heartbeat'>
  /** Times between beats. */
  readonly limits: Pick<HostLimits, 'beatMs' | 'silenceMs'>
  /** Time. */
  readonly clock: Clock
}

/** How long the stream outlives its connection or this daemon: for what the other side has said last to be read. Milliseconds. */
const FAREWELL_MS = 500

/** What ends heartbeats. */
interface Ends {
  /** What was to be done while the agent lives is done, or has failed. */
  readonly done: AbortSignal
  /** The connection is lost, or the daemon stops. */
  readonly signal: AbortSignal
  /** The daemon stops. */
  readonly stopping: AbortSignal
}

/** The host's end of the heartbeats. */
export class Heartbeat {
  readonly #deps: HeartbeatDeps

  constructor(deps: HeartbeatDeps) {
    this.#deps = deps
  }

  /**
   * Does some work while the agent lives. An agent of before that has no heartbeats is watched by the connection alone.
   *
   * @param signal - aborts when the connection is lost or the daemon stops; `stopping` aborts in the latter case only
   * @param work - gets a signal that aborts also when the agent falls silent, and has to heed it
   * @param restarting - called when the agent says that it restarts; its silence is no loss from then on
   * @throws OffloadError AGENT_UNREACHABLE when the agent falls silent; otherwise what the work throws
   */
  async during(
    { features }: Pick<HandshakeReply, 'features'>,
    { signal, stopping }: { readonly signal: AbortSignal; readonly stopping: AbortSignal },
    work: (signal: AbortSignal) => Promise<void>,
    restarting: () => void,
  ): Promise<void> {
    if (!features.includes(HEARTBEAT)) return await work(signal)
    const silent = new AbortController()
    const done = new AbortController()
    const beating = this.#beat({ done: done.signal, signal, stopping }, restarting).catch((error: unknown) => {
      if (!signal.aborted && !done.signal.aborted) silent.abort(OffloadError.from(error))
    })
    try {
      await work(AbortSignal.any([signal, silent.signal]))
    } finally {
      done.abort()
      await beating
    }
    if (silent.signal.aborted && !signal.aborted) throw silent.signal.reason
  }

  /** Resolves once the agent has said that it restarts, or the end has come. */
  async #beat({ done, signal, stopping }: Ends, restarting: () => void): Promise<void> {
    const { client, clock, limits } = this.#deps
    const end = AbortSignal.any([done, signal])
    // The stream outlives the daemon's stop and the loss of its connection by the time of a farewell; any other end cuts it off.
    const cut = new AbortController()
    const ended = (): void => cut.abort()
    const farewell = (): void => void clock.sleep(FAREWELL_MS, cut.signal).then(ended, () => {})
    end.addEventListener('abort', () => (signal.aborted ? farewell() : ended()), { once: true })
    const silence = { clock, silenceMs: limits.silenceMs, who: 'the agent' }
    try {
      const beats = client.heartbeat(this.#beats(AbortSignal.any([stopping, cut.signal])), { signal: cut.signal })
      for await (const beat of untilSilent<AgentBeat>(beats, silence, cut.signal)) if (beat.restarting) return restarting()
      if (!end.aborted) throw new OffloadError('AGENT_UNREACHABLE', 'the agent has ended its heartbeats without a word')
    } finally {
      cut.abort()
    }
  }

  async *#beats(end: AbortSignal): AsyncGenerator<HostBeat, void, undefined> {
    for await (const _beat of pulse(this.#deps.clock, this.#deps.limits.beatMs, end)) yield { stopping: false }
  }
}
