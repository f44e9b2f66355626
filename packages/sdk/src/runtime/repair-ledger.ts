import type { Clock } from '../contracts/clock.ts'
import type { Logger } from '../contracts/logger.ts'
import { formatAttachmentKey } from '../domain/attachment.ts'
import type { RepairRecord } from '../domain/repair.ts'

/** How often a reconciler may act. Times are in milliseconds. */
export interface RepairLimits {
  /** How many repairs may follow each other at once, from 1. */
  readonly repairBurst: number
  /** Until one more may be made, in the long run. */
  readonly repairEveryMs: number
  /** Pause after the first repair of a thing; doubles with each further one. */
  readonly repairPauseMs: number
  /** Longest pause between two repairs of a thing. A thing that was fine for so long begins anew. */
  readonly repairPauseMaxMs: number
}

/** What is noted of a repair; the ledger adds the rest. */
export type Repaired = Omit<RepairRecord, 'at' | 'subject' | 'times'>

/** What a {@link RepairLedger} is made of. */
export interface RepairLedgerDeps {
  /** Time. */
  readonly clock: Clock
  /** How often may be repaired. */
  readonly limits: RepairLimits
  /** Log: every record is written to it. */
  readonly log: Logger
  /** Told every record. */
  readonly observe?: (record: RepairRecord) => void
  /** How many records are kept. @defaultValue 512 */
  readonly keep?: number
}

/** Longest text of a record, in characters, and most texts: messages of plugins have no limit of their own. */
const LONGEST_TEXT = 1_000
const MOST_TEXTS = 32

interface Subject {
  /** Whether the last look found drift. */
  suspected: boolean
  /** What was reported last and is still so. */
  reported?: string
  /** Repairs in a row. */
  times: number
  /** Until when it is left alone, in monotonic time. */
  pausedUntil: number
  /** Since when it has been fine after a repair, in monotonic time. */
  fineSince?: number
  /** When something was last said of it, in monotonic time. */
  touchedAt: number
}

/**
 * Decides when a reconciler may act, and remembers what it did.
 *
 * Drift counts when two looks in a row have found it: what is just being changed is left alone. Repairs of all things together are
 * limited by a bucket of tokens, those of one thing by pauses that grow, so that whoever undoes what is repaired is not fought in a
 * loop. What is only reported is reported once as long as it stays the same.
 */
export class RepairLedger {
  readonly #deps: RepairLedgerDeps
  readonly #subjects = new Map<string, Subject>()
  #records: RepairRecord[] = []
  #tokens: number
  #refilledAt: number

  /** Begins with a full bucket and no records. */
  constructor(deps: RepairLedgerDeps) {
    this.#deps = deps
    this.#tokens = deps.limits.repairBurst
    this.#refilledAt = deps.clock.monotonic()
  }

  /** All records that are kept, oldest first. */
  get records(): readonly RepairRecord[] {
    return this.#records
  }

  /** Records by the text of the attachment that they are about, the latest `most` of each. */
  byAttachment(most: number = 16): ReadonlyMap<string, readonly RepairRecord[]> {
    const groups = Map.groupBy(
      this.#records.filter(({ key }) => key !== undefined),
      ({ key }) => (key === undefined ? '' : formatAttachmentKey(key)),
    )
    return new Map([...groups].map(([id, records]) => [id, records.slice(-most)]))
  }

  /** Notes that a look found drift. @returns whether the look before had found some, too */
  confirms(subject: string): boolean {
    const known = this.#subject(subject)
    const before = known.suspected
    known.suspected = true
    delete known.fineSince
    return before
  }

  /** Notes that a look found nothing. */
  fine(subject: string): void {
    const known = this.#subjects.get(subject)
    if (known === undefined) return
    known.suspected = false
    delete known.reported
    const { clock, limits } = this.#deps
    known.touchedAt = clock.monotonic()
    known.fineSince ??= known.touchedAt
    if (known.times === 0 || known.touchedAt - known.fineSince >= limits.repairPauseMaxMs) this.#subjects.delete(subject)
  }

  /** Takes the permission for one repair, if there is one now. */
  mayRepair(subject: string): boolean {
    const { clock, limits } = this.#deps
    const now = clock.monotonic()
    const gained = Math.floor((now - this.#refilledAt) / limits.repairEveryMs)
    this.#tokens = Math.min(limits.repairBurst, this.#tokens + gained)
    this.#refilledAt += gained * limits.repairEveryMs
    if (this.#tokens < 1 || now < (this.#subjects.get(subject)?.pausedUntil ?? 0)) return false
    this.#tokens--
    return true
  }

  /** Notes a repair, whether it succeeded or not. */
  repaired(subject: string, what: Repaired): void {
    const { clock, limits } = this.#deps
    const known = this.#subject(subject)
    const now = clock.monotonic()
    known.times++
    known.pausedUntil = now + Math.min(limits.repairPauseMs * 2 ** (known.times - 1), limits.repairPauseMaxMs)
    known.suspected = false
    delete known.fineSince
    this.#note({ ...what, at: clock.now(), subject, times: known.times })
  }

  /** Notes what cannot be repaired, once as long as it stays the same. */
  report(subject: string, what: Pick<Repaired, 'key' | 'found' | 'reason'>): void {
    const known = this.#subject(subject)
    const text = what.found.join('; ')
    if (known.reported === text) return
    known.reported = text
    this.#note({ ...what, action: 'report', outcome: 'reported', at: this.#deps.clock.now(), subject, times: 1 })
  }

  #subject(subject: string): Subject {
    const touchedAt = this.#deps.clock.monotonic()
    const known = this.#subjects.get(subject)
    if (known !== undefined) {
      known.touchedAt = touchedAt
      return known
    }
    const fresh = { suspected: false, times: 0, pausedUntil: 0, touchedAt }
    this.#forget(touchedAt)
    this.#subjects.set(subject, fresh)
    return fresh
  }

  /** What nobody has spoken of for long does not exist any more. */
  #forget(now: number): void {
    const most = 2 * this.#deps.limits.repairPauseMaxMs
    for (const [subject, { touchedAt }] of this.#subjects) if (now - touchedAt > most) this.#subjects.delete(subject)
  }

  #note(whole: RepairRecord): void {
    const { keep = 512, log, observe } = this.#deps
    const record = clipped(whole)
    this.#records = [...this.#records.slice(1 - keep), record]
    const { key, at: _logged, ...fields } = record
    const again = record.times > 1 ? ', and it keeps coming back' : ''
    log[record.outcome === 'failed' ? 'error' : 'warn'](
      { ...fields, ...(key === undefined ? {} : { key: formatAttachmentKey(key) }) },
      `drift ${record.outcome}${again}`,
    )
    observe?.(record)
  }
}

function clipped(record: RepairRecord): RepairRecord {
  const clip = (text: string): string => (text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT - 1)}…` : text)
  const { found, reason } = record
  return { ...record, found: found.slice(0, MOST_TEXTS).map(clip), ...(reason === undefined ? {} : { reason: clip(reason) }) }
}
