import type { LabRole } from '@cni-offload/cli'
import type { Victim } from './plan.ts'

/** How calls of one verb ended. */
export interface VerbTally {
  /** Success. */
  ok: number
  /** The shim was killed in the middle. */
  killed: number
  /** Errors by CNI code. */
  readonly refused: Map<number, number>
  /** How long successful ones took, milliseconds. */
  readonly ms: number[]
}

/** What must not happen, apart from double leases and leaks; one sentence each. */
export interface Defects {
  /** DELs that did not succeed, however often they were repeated. */
  readonly lostDels: string[]
  /** Answers that no runtime could make sense of, or that nothing explains. */
  readonly unexpected: string[]
  /** Pods that had no network although they should have. */
  readonly silent: string[]
}

/** What happens during a run, counted. */
export class Tally {
  /** Kills by victim; a cilium-agent is not told of before the first one. */
  readonly kills: Partial<Record<Victim, number>> = { host: 0, agent: 0, both: 0, shim: 0 }
  /** Calls by verb. */
  readonly calls = new Map<string, VerbTally>()
  /** From a daemon's start until it served, milliseconds. */
  readonly startMs: Readonly<Record<LabRole, number[]>> = { host: [], agent: [], cilium: [] }
  /** Pods that ran through all of it: how often they were asked and answered. */
  readonly survivors = { asked: 0, answered: 0 }
  /** What must not happen. */
  readonly defects: Defects = { lostDels: [], unexpected: [], silent: [] }

  /** The calls of a verb. */
  verb(verb: string): VerbTally {
    const found = this.calls.get(verb) ?? { ok: 0, killed: 0, refused: new Map<number, number>(), ms: [] }
    this.calls.set(verb, found)
    return found
  }

  /** Counts a kill. */
  kill(victim: Victim): void {
    this.kills[victim] = (this.kills[victim] ?? 0) + 1
  }

  /** All kills. */
  get killed(): number {
    return Object.values(this.kills).reduce((sum, count) => sum + count, 0)
  }
}
