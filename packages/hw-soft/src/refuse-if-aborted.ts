import { OffloadError } from '@cni-offload/sdk'

/** @throws OffloadError CANCELLED or DEADLINE_EXCEEDED if the signal is aborted */
export function refuseIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED')
}
