import { type Clock, OffloadError } from '@cni-offload/sdk'

/** Into how many pauses the time is cut after which silence is a loss. */
const SLICES = 5

/** One beat at once and one after each pause, until the signal aborts. */
export async function* pulse(clock: Clock, beatMs: number, signal: AbortSignal): AsyncGenerator<void, void, undefined> {
  while (!signal.aborted) {
    yield
    await clock.sleep(beatMs, signal).catch(() => {})
  }
}

/** When beats count as lost. */
export interface Silence {
  /** Time. */
  readonly clock: Clock
  /** Longest pause between two beats, milliseconds. */
  readonly silenceMs: number
  /** Whose beats they are, for the message. */
  readonly who: string
}

/**
 * Passes beats on for as long as they come.
 *
 * What counts is how many pauses have passed without a beat, not the time of the clock: a process that was held up itself does not
 * know what the other one did meanwhile.
 *
 * @throws OffloadError AGENT_UNREACHABLE when none comes for `silenceMs`; the signal's reason; whatever `beats` fails with
 */
export async function* untilSilent<T>(beats: AsyncIterable<T>, silence: Silence, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  const items = beats[Symbol.asyncIterator]()
  try {
    for (;;) {
      const heard = new AbortController()
      const next = items.next()
      // Where the pauses win, what becomes of this beat is of no interest any more.
      next.catch(() => {})
      const step = await Promise.race([next, pauses(silence, AbortSignal.any([signal, heard.signal]))]).finally(() => heard.abort())
      if (step.done === true) return
      yield step.value
    }
  } finally {
    // Not awaited: beats that are stuck would never return.
    items.return?.().catch(() => {})
  }
}

async function pauses({ clock, silenceMs, who }: Silence, signal: AbortSignal): Promise<never> {
  for (let slice = 0; slice < SLICES; slice++) await clock.sleep(silenceMs / SLICES, signal)
  throw new OffloadError('AGENT_UNREACHABLE', `no heartbeat of ${who} for ${silenceMs} ms`, {
    hint: 'Is the link between host and DPU up? Has the process been stopped?',
  })
}
