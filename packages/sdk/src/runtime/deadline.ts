/** Longest timer that Node can set; longer ones would fire at once. */
const LONGEST_MS = 2_147_483_647

/**
 * The caller's signal with a time limit of our own: aborts with the caller's reason when the caller gives up, with a
 * `TimeoutError` after `ms` milliseconds, whichever is first. `OffloadError.from` tells the two apart.
 *
 * @param signal - the caller's
 * @param ms - limit in milliseconds; 0 or less has passed already
 */
export function deadline(signal: AbortSignal, ms: number): AbortSignal {
  if (signal.aborted) return signal
  if (ms <= 0) return AbortSignal.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'))
  return AbortSignal.any([signal, AbortSignal.timeout(Math.min(Math.ceil(ms), LONGEST_MS))])
}
