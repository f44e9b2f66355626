import { OffloadError } from '../errors/offload-error.ts'

/** @throws OffloadError CANCELLED or DEADLINE_EXCEEDED if the signal is aborted */
export function refuseIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED')
}
