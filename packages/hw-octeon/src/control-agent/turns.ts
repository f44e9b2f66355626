import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { GONE } from './process-table.ts'

/** A quarter of what a host waits for heartbeats by default: enough of it stays for the restart. A busy machine delays nothing for so long. */
export const HANG_MS = 5_000

/** Between two looks at the count, which raises no event. */
export const TURNS_LOOK_MS = 1_000

/** Looks that are so far apart were not: whoever looks was stopped meanwhile, and the agent with it, perhaps. */
const STOPPED_MS = 3 * TURNS_LOOK_MS

/** The part of its usual turns that is enough: its timer for heartbeats, a signal each second, goes on waking it also where its loop hangs. */
const ENOUGH = 100

/**
 * How often a control agent has gone to sleep: its loop does once in each turn, after it has looked for what the host asks. Nothing else that
 * can be seen from outside shows that it does; without it, the host has to ask, and its driver does that only for somebody's command.
 *
 * @returns undefined where there is no such process, or the kernel does not tell
 */
export async function readTurns(machine: Machine, pid: number): Promise<bigint | undefined> {
  const status = await ifPresent(machine.read(`/proc/${pid}/status`), GONE)
  const digits = /^voluntary_ctxt_switches:\s*(\d+)$/m.exec(status ?? '')?.[1]
  return digits === undefined ? undefined : BigInt(digits)
}

/** How many turns within which time show that a loop does not hang. */
export interface EnoughTurns {
  /** Turns. */
  readonly turns: bigint
  /** Time, milliseconds. */
  readonly withinMs: number
}

/** What is asked of a loop. @param pollMs - its pause in each turn; where that is long, so is the time @param wishMs - the time otherwise */
export function enoughTurns(pollMs: number, wishMs: number): EnoughTurns {
  const withinMs = Math.max(wishMs, 3 * pollMs)
  return { turns: BigInt(Math.max(1, Math.floor(withinMs / pollMs / ENOUGH))), withinMs }
}

/** Tells from how often a control agent goes to sleep whether it hangs. Pure. */
export class TurnMeter {
  readonly #enough: EnoughTurns
  #mark: { readonly turns: bigint; readonly at: number } | undefined
  #looked = Number.NEGATIVE_INFINITY

  /** @param pollMs - pause of its loop in each turn, `-y` of its command line */
  constructor(pollMs: number) {
    this.#enough = enoughTurns(pollMs, HANG_MS)
  }

  /** Takes a look. @returns why it hangs; undefined if it does not, or that cannot be said yet */
  note(turns: bigint, at: number): string | undefined {
    const stopped = at - this.#looked > STOPPED_MS
    this.#looked = at
    if (this.#mark === undefined || stopped || turns - this.#mark.turns >= this.#enough.turns) {
      this.#mark = { turns, at }
      return undefined
    }
    const { withinMs } = this.#enough
    return at - this.#mark.at < withinMs ? undefined : `it hangs: its loop has stood still for ${withinMs / 1000} s`
  }
}
