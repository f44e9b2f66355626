/** What came of a check: `warn` is in order now and may not stay so, `skipped` could not be looked at. */
export type CheckState = 'ok' | 'warn' | 'fail' | 'skipped'

/** What a check has found. */
export interface Finding {
  /** What came of it. */
  readonly state: CheckState
  /** What was seen, with its value. */
  readonly seen: string
  /** Why that is not as it should be; empty if it is. */
  readonly why: string
  /** What to do about it; empty if nothing. */
  readonly remedy: string
}

/** A finding, and of what. */
export interface CheckResult extends Finding {
  /** Name that does not change: `cilium.node`. */
  readonly id: string
  /** What is looked at. */
  readonly title: string
  /** Id of the check without which it was skipped. */
  readonly blockedBy?: string
}

/** One thing to look at. It changes nothing that it does not put back. */
export interface Check {
  /** Name that does not change; no other check has it. */
  readonly id: string
  /** What is looked at, as a statement that should hold. */
  readonly title: string
  /** Ids of earlier checks without which this one would say nothing new: it is skipped unless they are in order. */
  readonly after?: readonly string[]
  /** Longest that it may take, milliseconds; that of all checks by default. */
  readonly timeoutMs?: number
  /** Looks. What it throws is a failure, with the error's hint for a remedy. */
  run(signal: AbortSignal): Promise<Finding> | Finding
}

/** It is as it should be. */
export const ok = (seen: string): Finding => ({ state: 'ok', seen, why: '', remedy: '' })

/** It works, but not for ever or not as well as it could. */
export const warn = (seen: string, why: string, remedy: string): Finding => ({ state: 'warn', seen, why, remedy })

/** It does not work. */
export const fail = (seen: string, why: string, remedy: string): Finding => ({ state: 'fail', seen, why, remedy })

/** It could not be looked at. */
export const skipped = (why: string, remedy = ''): Finding => ({ state: 'skipped', seen: '', why, remedy })
