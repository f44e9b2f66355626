/** How long things may take and how many may run at once. */
export interface AgentLimits {
  /** Longest that one call may take when its caller sets no deadline, milliseconds. @defaultValue 30 000 */
  readonly callTimeoutMs: number
  /** Longest that a resync may take when its caller sets no deadline, milliseconds. @defaultValue 300 000 */
  readonly resyncTimeoutMs: number
  /** Longest that undoing a failed attach, or one retry of a detach, may take, milliseconds. @defaultValue 10 000 */
  readonly compensationTimeoutMs: number
  /** Longest that hardware and adapters together may take to start, milliseconds. @defaultValue 60 000 */
  readonly startTimeoutMs: number
  /** How long running calls may go on when the agent is told to stop, milliseconds. @defaultValue 10 000 */
  readonly drainMs: number
  /** How many attachments are made or ended at the same time, from 1. @defaultValue 32 */
  readonly concurrency: number
  /** Pause before the first retry of a failed detach, milliseconds; doubles with each further one. @defaultValue 500 */
  readonly retryFirstMs: number
  /** Longest pause between retries of a failed detach, milliseconds. @defaultValue 30 000 */
  readonly retryMaxMs: number
}

/** The limits that hold where none are given. */
export const DEFAULT_LIMITS: AgentLimits = {
  callTimeoutMs: 30_000,
  resyncTimeoutMs: 300_000,
  compensationTimeoutMs: 10_000,
  startTimeoutMs: 60_000,
  drainMs: 10_000,
  concurrency: 32,
  retryFirstMs: 500,
  retryMaxMs: 30_000,
}
