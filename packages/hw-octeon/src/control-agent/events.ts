import type { OffloadError } from '@cni-offload/sdk'

/** Something that happened to a control agent. */
export type AgentEvent =
  /** The host can use the card for the first time. */
  | { readonly kind: 'ready'; readonly pid: number }
  /** It cannot any more: the agent ended, hangs, or the host is being reset. Pods that are connected keep their traffic. */
  | { readonly kind: 'lost'; readonly reason: string }
  /** It can again, after so many milliseconds. The host has lost what it had set: MAC addresses, MTU, link. */
  | { readonly kind: 'back'; readonly pid: number; readonly afterMs: number }
  /** Nothing helps until a person has changed something. The last event. */
  | { readonly kind: 'given-up'; readonly failure: OffloadError }

/** Gives events to all who listen, to each from when it began to. */
export class EventHub<E> {
  readonly #listeners = new Set<(event: E | undefined) => void>()
  #last: { readonly event: E | undefined } | undefined

  /** Gives an event to all. */
  emit(event: E): void {
    for (const listener of this.#listeners) listener(event)
  }

  /** Ends what all of them hear, and what those hear that come later: `event` is the last one. */
  close(event?: E): void {
    if (this.#last !== undefined) return
    this.#last = { event }
    for (const listener of this.#listeners) {
      if (event !== undefined) listener(event)
      listener(undefined)
    }
  }

  /** Events from now on, until the signal aborts or there are no more. */
  events(signal: AbortSignal): AsyncIterable<E> {
    const waiting: (E | undefined)[] = []
    let wake = (): void => {}
    const listener = (event: E | undefined): void => {
      waiting.push(event)
      wake()
    }
    const stop = (): void => listener(undefined)
    const last = this.#last
    // Whoever asks hears what happens from then on, also if it begins to read only later.
    if (last === undefined) this.#listeners.add(listener)
    else waiting.push(...(last.event === undefined ? [] : [last.event]), undefined)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const forget = (): void => {
      this.#listeners.delete(listener)
      signal.removeEventListener('abort', stop)
    }
    return (async function* () {
      try {
        for (;;) {
          if (signal.aborted) return
          if (waiting.length > 0) {
            const event = waiting.shift()
            if (event === undefined) return
            yield event
          } else await new Promise<void>((resolve) => (wake = resolve))
        }
      } finally {
        forget()
      }
    })()
  }
}
