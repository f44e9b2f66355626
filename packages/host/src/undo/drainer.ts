import { type AttachmentKey, type Clock, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import { type KeyedMutex, Limiter } from '@cni-offload/sdk/runtime'
import type { CleanupRow } from '../journal/types.ts'

/** A row of a queue, as far as working it off needs to know. */
export type DrainRow = Pick<CleanupRow, 'seq' | 'key' | 'release'>

/** What a {@link Drainer} is made of. */
export interface DrainerDeps {
  /** The queue. */
  readonly journal: { queue(): readonly DrainRow[] }
  /** Does the work for a key, while its lock is held, and tells why something is left to do. */
  readonly undo: { queued(key: AttachmentKey, log: Logger): Promise<{ readonly reason: string } | undefined> }
  /** Locks of attachments. */
  readonly locks: KeyedMutex
  /** Whether the agent can be asked: if not, rows that need it are left alone. */
  readonly connected: () => boolean
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000

/** Rows that are worked on at a time: one that hangs until its time is over must not hold up the rest. */
const CONCURRENCY = 16

/** Works off, in the background, what could not be undone at once. */
export class Drainer {
  readonly #deps: DrainerDeps
  /** When a row that failed is tried again, by its number in the queue. */
  readonly #retry = new Map<number, { at: number; afterMs: number }>()
  /** When a row was seen first, by its number in the queue. */
  readonly #since = new Map<number, number>()
  readonly #places = new Limiter(CONCURRENCY)
  #wake: (() => void) | undefined
  #due = false

  constructor(deps: DrainerDeps) {
    this.#deps = deps
  }

  /** For how long the oldest row has waited since this daemon knows of it, milliseconds; 0 if there is none. */
  get oldestMs(): number {
    const now = this.#deps.clock.monotonic()
    return Math.max(0, ...this.#deps.journal.queue().map(({ seq }) => now - (this.#since.get(seq) ?? now)))
  }

  /** Says that something was queued, or that the agent is back: then rows that failed are tried again at once. */
  wake(agentIsBack: boolean = false): void {
    if (agentIsBack) this.#retry.clear()
    this.#due = true
    this.#wake?.()
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#due = false
      await this.#round(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#deps.log.error({ err: error }, 'queue of clean-ups')
      })
      await this.#pause(signal)
    }
  }

  /** Rows are begun in order; one that fails does not keep the others back. */
  async #round(signal: AbortSignal): Promise<void> {
    const rows = this.#deps.journal.queue()
    const left = new Set(rows.map(({ seq }) => seq))
    for (const seq of [...this.#retry.keys(), ...this.#since.keys()])
      if (!left.has(seq)) {
        this.#retry.delete(seq)
        this.#since.delete(seq)
      }
    for (const seq of left) if (!this.#since.has(seq)) this.#since.set(seq, this.#deps.clock.monotonic())
    const due = rows.filter((row) => this.#isDue(row))
    const outcomes = await Promise.allSettled(due.map(({ key, seq }) => this.#places.run(signal, () => this.#try(key, seq, signal))))
    // Only now: what has begun must have ended before the daemon does.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  async #try(key: AttachmentKey, seq: number, signal: AbortSignal): Promise<void> {
    // Whoever has the lock is ending the attachment or trying this very row.
    if (this.#deps.locks.isLocked(formatAttachmentKey(key))) return this.#skip(seq)
    const left = await this.#deps.locks.run(formatAttachmentKey(key), signal, () => this.#deps.undo.queued(key, this.#deps.log))
    if (left === undefined) return
    const afterMs = Math.min((this.#retry.get(seq)?.afterMs ?? FIRST_RETRY_MS / 2) * 2, LAST_RETRY_MS)
    this.#retry.set(seq, { at: this.#deps.clock.monotonic() + afterMs, afterMs })
    this.#deps.log.warn({ key: formatAttachmentKey(key), ...left, retryMs: afterMs }, 'clean-up failed again')
  }

  /** Leaves a row for the next round, with the pauses that it has had so far. */
  #skip(seq: number): void {
    const { afterMs = FIRST_RETRY_MS / 2 } = this.#retry.get(seq) ?? {}
    this.#retry.set(seq, { at: this.#deps.clock.monotonic() + FIRST_RETRY_MS, afterMs })
  }

  #isDue(row: DrainRow): boolean {
    if (!row.release && !this.#deps.connected()) return false
    const retry = this.#retry.get(row.seq)
    return retry === undefined || retry.at <= this.#deps.clock.monotonic()
  }

  /** Until somebody wakes it or the next failed row is due. */
  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#due || signal.aborted) return
    const woken = new AbortController()
    this.#wake = () => woken.abort(new OffloadError('CANCELLED', 'woken'))
    const next = Math.min(...[...this.#retry.values()].map(({ at }) => at), this.#deps.clock.monotonic() + LAST_RETRY_MS)
    const wait = Math.max(next - this.#deps.clock.monotonic(), 1)
    await this.#deps.clock.sleep(wait, AbortSignal.any([signal, woken.signal])).catch(() => {})
    this.#wake = undefined
  }
}
