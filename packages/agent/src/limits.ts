import type { RepairLimits } from '@cni-offload/sdk/runtime'

/** How long things may take and how many may run at once. */
export interface AgentLimits extends RepairLimits {
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
  /** Pause between two heartbeats, milliseconds. @defaultValue 1 000 */
  readonly beatMs: number
  /** Silence of the host that is taken for its loss, milliseconds. @defaultValue 2 500 */
  readonly silenceMs: number
  /** How many attachments are made or ended at the same time, from 1. @defaultValue 32 */
  readonly concurrency: number
  /** Pause before the first retry of a failed detach, milliseconds; doubles with each further one. @defaultValue 500 */
  readonly retryFirstMs: number
  /** Longest pause between retries of a failed detach, milliseconds. @defaultValue 30 000 */
  readonly retryMaxMs: number
  /** Least pause between two looks of the reconciler at what a network holds, milliseconds; 0 switches the reconciler off. @defaultValue 5 000 */
  readonly reconcileMs: number
  /** Least pause between two thorough checks, which may run plugins, milliseconds. @defaultValue 1 000 */
  readonly checkEveryMs: number
  /** After how long a thorough check of an attachment is repeated, milliseconds. @defaultValue 600 000 */
  readonly checkAgainMs: number
}

/** The limits that hold where none are given. */
export const DEFAULT_LIMITS: AgentLimits = {
  callTimeoutMs: 30_000,
  resyncTimeoutMs: 300_000,
  compensationTimeoutMs: 10_000,
  startTimeoutMs: 60_000,
  drainMs: 10_000,
  beatMs: 1_000,
  silenceMs: 2_500,
  concurrency: 32,
  retryFirstMs: 500,
  retryMaxMs: 30_000,
  reconcileMs: 5_000,
  checkEveryMs: 1_000,
  checkAgainMs: 600_000,
  repairBurst: 32,
  repairEveryMs: 250,
  repairPauseMs: 5_000,
  repairPauseMaxMs: 600_000,
}
