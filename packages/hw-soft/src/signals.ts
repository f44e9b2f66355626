import { OffloadError } from '@cni-offload/sdk'

/** @throws OffloadError CANCELLED or DEADLINE_EXCEEDED if the signal is aborted */
export function refuseIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED')
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
