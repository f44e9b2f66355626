import { OffloadError } from '@cni-offload/sdk'

/** Signals that abort as the user interrupts a command. */
export interface Interrupts extends Disposable {
  /** Aborts at the first SIGINT or SIGTERM: what runs is to end, and to be undone. */
  readonly signal: AbortSignal
  /** Aborts at the second: not even that. */
  readonly again: AbortSignal
}

/** Listens to the user's interrupts until it is disposed. */
export function untilInterrupted(): Interrupts {
  const first = new AbortController()
  const second = new AbortController()
  const interrupt = (signal: NodeJS.Signals): void => {
    const reason = new OffloadError('CANCELLED', `interrupted by ${signal}`)
    if (first.signal.aborted) second.abort(reason)
    else first.abort(reason)
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: first.signal,
    again: second.signal,
    [Symbol.dispose]: () => void process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}
