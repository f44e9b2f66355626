import type { StatementSync } from 'node:sqlite'
import { type AttachmentKey, type AttachResult, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { JournalFile } from './journal-file.ts'
import { decodeAttachment, decodeKey, keyColumns, text, vfOf } from './rows.ts'
import { ATTACHMENT } from './schema.ts'
import type { AttachmentPhase, AttachmentRow, CleanupRow } from './types.ts'

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'

const STATEMENTS = {
  add: `INSERT INTO attachments (network, container_id, if_name, device, vf_index, phase, netns, netns_identity, intent, boot_id, created_ms)
    VALUES (?, ?, ?, ?, ?, 'leased', ?, ?, ?, ?, ?)`,
  get: `${ATTACHMENT} WHERE ${BY_KEY}`,
  all: `${ATTACHMENT} ORDER BY a.rowid`,
  keysOf: 'SELECT network, container_id, if_name, phase FROM attachments WHERE network = ? ORDER BY rowid',
  attached: `UPDATE attachments SET phase = 'attached', result = ? WHERE ${BY_KEY}`,
  phase: `UPDATE attachments SET phase = ? WHERE ${BY_KEY}`,
  remove: `DELETE FROM attachments WHERE ${BY_KEY} RETURNING network, container_id, if_name, device, vf_index, netns, netns_identity`,
} as const

/** Attachments. What it changes belongs into a transaction of its caller. */
export class AttachmentTable {
  readonly #file: string
  readonly #sql: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>

  /** Prepares its statements. */
  constructor(file: JournalFile) {
    this.#file = file.path
    this.#sql = file.prepare(STATEMENTS)
  }

  /** Whether there is a row of this key. */
  has(key: AttachmentKey): boolean {
    return this.#sql.get.get(...keyColumns(key)) !== undefined
  }

  /** Adds an attachment in phase `leased`. */
  add({ key, vf, netns, netnsIdentity, intent, bootId, createdAt }: Omit<AttachmentRow, 'phase' | 'vfMac' | 'pod'>): void {
    this.#sql.add.run(...keyColumns(key), vf.device, vf.index, netns, netnsIdentity, JSON.stringify(intent), bootId, createdAt)
  }

  /** One attachment, undefined if unknown. */
  get(key: AttachmentKey): AttachmentRow | undefined {
    const row = this.#sql.get.get(...keyColumns(key))
    return row === undefined ? undefined : decodeAttachment(row)
  }

  /** All attachments, oldest first. */
  all(): AttachmentRow[] {
    return this.#sql.all.all().map(decodeAttachment)
  }

  /** Attachments of a network in a phase, oldest first. */
  keysOf(network: string, phases: readonly AttachmentPhase[]): AttachmentKey[] {
    const wanted: readonly string[] = phases
    return this.#sql.keysOf
      .all(network)
      .filter((row) => wanted.includes(text(row, 'phase')))
      .map(decodeKey)
  }

  /** Notes the agent's answer. @throws OffloadError JOURNAL_FAILURE if there is no such row */
  attached(key: AttachmentKey, result: AttachResult): void {
    this.#one(key, this.#sql.attached.run(JSON.stringify(result), ...keyColumns(key)).changes)
  }

  /** Notes where it stands. @throws OffloadError JOURNAL_FAILURE if there is no such row */
  become(key: AttachmentKey, phase: 'wired' | 'detaching'): void {
    this.#one(key, this.#sql.phase.run(phase, ...keyColumns(key)).changes)
  }

  /** Removes an attachment. Returns what it was. @throws OffloadError JOURNAL_FAILURE if there is no such row */
  remove(key: AttachmentKey): Pick<CleanupRow, 'key' | 'vf' | 'netns' | 'netnsIdentity'> {
    const row = this.#sql.remove.get(...keyColumns(key))
    if (row === undefined) throw this.#vanished(key)
    return { key: decodeKey(row), vf: vfOf(row), netns: text(row, 'netns'), netnsIdentity: text(row, 'netns_identity') }
  }

  #one(key: AttachmentKey, changes: number | bigint): void {
    if (Number(changes) !== 1) throw this.#vanished(key)
  }

  #vanished(key: AttachmentKey): OffloadError {
    return new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: attachment ${formatAttachmentKey(key)} has vanished`)
  }
}
