import type { StatementSync } from 'node:sqlite'
import { type AttachmentKey, type OffloadError, type VfId } from '@cni-offload/sdk'
import type { JournalFile } from './journal-file.ts'
import { refusal } from './lifecycle.ts'
import { decodeCleanup, keyColumns, vfOf } from './rows.ts'
import type { CleanupLeft, CleanupRow } from './types.ts'

const STATEMENTS = {
  add: `INSERT INTO detach_queue (network, container_id, if_name, device, vf_index, netns, netns_identity, release, detach, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  all: 'SELECT * FROM detach_queue ORDER BY seq',
  of: 'SELECT * FROM detach_queue WHERE network = ? AND container_id = ? AND if_name = ? ORDER BY seq',
  progress: 'UPDATE detach_queue SET release = ?, detach = ?, reason = ? WHERE seq = ?',
  remove: 'DELETE FROM detach_queue WHERE seq = ? RETURNING device, vf_index',
  count: 'SELECT count(*) AS n FROM detach_queue',
} as const

const columns = ({ release, detach, reason }: CleanupLeft): [number, number, string] => [release ? 1 : 0, detach ? 1 : 0, reason]

/** What is left to be done for attachments that are over. What it changes belongs into a transaction of its caller. */
export class CleanupTable {
  readonly #file: string
  readonly #sql: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>

  /** Prepares its statements. */
  constructor(file: JournalFile) {
    this.#file = file.path
    this.#sql = file.prepare(STATEMENTS)
  }

  /** Queues what is left of an attachment. */
  add(of: Pick<CleanupRow, 'key' | 'vf' | 'netns' | 'netnsIdentity'>, left: CleanupLeft): void {
    this.#sql.add.run(...keyColumns(of.key), of.vf.device, of.vf.index, of.netns, of.netnsIdentity, ...columns(left))
  }

  /** All rows, oldest first. */
  all(): CleanupRow[] {
    return this.#sql.all.all().map(decodeCleanup)
  }

  /** Rows of one key, oldest first. */
  of(key: AttachmentKey): CleanupRow[] {
    return this.#sql.of.all(...keyColumns(key)).map(decodeCleanup)
  }

  /** Notes what is left now. @throws OffloadError JOURNAL_FAILURE if there is no such row */
  progress(seq: number, left: CleanupLeft): void {
    if (Number(this.#sql.progress.run(...columns(left), seq).changes) !== 1) throw this.#refusal(seq, 'progress')
  }

  /** Removes a row. Returns the VF that it kept. @throws OffloadError JOURNAL_FAILURE if there is no such row */
  remove(seq: number): VfId {
    const row = this.#sql.remove.get(seq)
    if (row === undefined) throw this.#refusal(seq, 'finish')
    return vfOf(row)
  }

  /** Number of rows. */
  count(): number {
    return Number(this.#sql.count.get()?.['n'])
  }

  #refusal(seq: number, event: 'progress' | 'finish'): OffloadError {
    return refusal(this.#file, `clean-up ${seq}`, undefined, event)
  }
}
