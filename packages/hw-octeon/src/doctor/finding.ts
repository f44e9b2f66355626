/** What came of a look: `warn` is in order now and may not stay so, `skipped` could not be looked at. */
export type OcteonFindingState = 'ok' | 'warn' | 'fail' | 'skipped'

/** What a look at one thing has found. */
export interface OcteonFinding {
  /** What came of it. */
  readonly state: OcteonFindingState
  /** What was seen, with its value. */
  readonly seen: string
  /** Why that is not as it should be; empty if it is. */
  readonly why: string
  /** What to do about it; empty if nothing. */
  readonly remedy: string
}

/** One thing to look at. It changes nothing. */
export interface OcteonCheck {
  /** Name that does not change: `octeon.host.firmware`. */
  readonly id: string
  /** What is looked at, as a statement that should hold. */
  readonly title: string
  /** Ids of earlier checks without which this one would say nothing new. */
  readonly after?: readonly string[]
  /** Looks. What it throws is a failure, with the error's hint for a remedy. */
  run(signal: AbortSignal): Promise<OcteonFinding> | OcteonFinding
}

/** It is as it should be. */
export const fine = (seen: string): OcteonFinding => ({ state: 'ok', seen, why: '', remedy: '' })

/** It works, but not for ever or not as well as it could. */
export const doubtful = (seen: string, why: string, remedy: string): OcteonFinding => ({ state: 'warn', seen, why, remedy })

/** It does not work. */
export const broken = (seen: string, why: string, remedy: string): OcteonFinding => ({ state: 'fail', seen, why, remedy })

/** It could not be looked at. */
export const unseen = (why: string, remedy = ''): OcteonFinding => ({ state: 'skipped', seen: '', why, remedy })

/** Some of many, such as `a, b and 3 more`. */
export function some(names: readonly string[], shown = 3): string {
  const rest = names.length - shown
  return rest <= 0 ? names.join(', ') : `${names.slice(0, shown).join(', ')} and ${rest} more`
}
