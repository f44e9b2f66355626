import type { StatementSync } from 'node:sqlite'
import { type AttachmentKey, type AttachResult, formatAttachmentKey, type OffloadError } from '@cni-offload/sdk'
import type { JournalFile } from './journal-file.ts'
import { type LeaseEvent, refusal, statesBefore } from './lifecycle.ts'
import { decodeAttachment, decodeKey, encodeIntent, keyColumns, text, vfOf } from './rows.ts'
import { ATTACHMENT } from './schema.ts'
import type { AttachIntent, AttachmentPhase, AttachmentRow, CleanupRow } from './types.ts'

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'

/** A row by its key, if the event may follow its phase. */
const before = (event: LeaseEvent): string =>
  `${BY_KEY} AND phase IN (${statesBefore(event)
    .map((state) => `'${state}'`)
    .join()})`

const REMOVED = 'RETURNING network, container_id, if_name, device, vf_index, netns, netns_identity'

const STATEMENTS = {
  add: `INSERT INTO attachments (network, container_id, if_name, device, vf_index, phase, netns, netns_identity, intent, result, boot_id, created_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  get: `${ATTACHMENT} WHERE ${BY_KEY}`,
  all: `${ATTACHMENT} ORDER BY a.rowid`,
  keysOf: 'SELECT network, container_id, if_name, phase FROM attachments WHERE network = ? ORDER BY rowid',
  keysIn: 'SELECT network, container_id, if_name FROM attachments WHERE phase = ? ORDER BY rowid',
  addressed: `UPDATE attachments SET intent = json_set(intent, '$.hostIpam', json(?)) WHERE ${before('addressed')}`,
  attached: `UPDATE attachments SET phase = 'attached', result = ? WHERE ${before('attached')}`,
  wired: `UPDATE attachments SET phase = 'wired' WHERE ${before('wired')}`,
  renewed: `UPDATE attachments SET result = ? WHERE ${before('renewed')}`,
  detaching: `UPDATE attachments SET phase = 'detaching' WHERE ${before('detaching')}`,
  free: `DELETE FROM attachments WHERE ${before('free')} ${REMOVED}`,
  quarantine: `DELETE FROM attachments WHERE ${before('quarantine')} ${REMOVED}`,
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

  /** Adds an attachment of a VF that was just leased or adopted. */
  add(row: Omit<AttachmentRow, 'vfMac' | 'pod'>): void {
    const { key, vf, phase, netns, netnsIdentity, intent, userspace, result, bootId, createdAt } = row
    const texts = [
      phase,
      netns,
      netnsIdentity,
      encodeIntent(intent, userspace),
      result === undefined ? null : JSON.stringify(result),
      bootId,
    ]
    this.#sql.add.run(...keyColumns(key), vf.device, vf.index, ...texts, createdAt)
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

  /** Attachments of all networks in a phase, oldest first. */
  keysIn(phase: AttachmentPhase): AttachmentKey[] {
    return this.#sql.keysIn.all(phase).map(decodeKey)
  }

  /** Notes the addresses that the agent has to be told. @throws OffloadError JOURNAL_FAILURE if it is refused */
  addressed(key: AttachmentKey, hostIpam: NonNullable<AttachIntent['hostIpam']>): void {
    this.#one(key, 'addressed', this.#sql.addressed.run(JSON.stringify(hostIpam), ...keyColumns(key)).changes)
  }

  /** Notes the agent's answer, the first one or a later one. @throws OffloadError JOURNAL_FAILURE if it is refused */
  answered(event: 'attached' | 'renewed', key: AttachmentKey, result: AttachResult): void {
    this.#one(key, event, this.#sql[event].run(JSON.stringify(result), ...keyColumns(key)).changes)
  }

  /** Notes where it stands. @throws OffloadError JOURNAL_FAILURE if it is refused */
  become(key: AttachmentKey, phase: 'wired' | 'detaching'): void {
    this.#one(key, phase, this.#sql[phase].run(...keyColumns(key)).changes)
  }

  /** Removes an attachment whose VF becomes free or is quarantined. Returns what it was. @throws OffloadError JOURNAL_FAILURE if it is refused */
  remove(key: AttachmentKey, event: 'free' | 'quarantine'): Pick<CleanupRow, 'key' | 'vf' | 'netns' | 'netnsIdentity'> {
    const row = this.#sql[event].get(...keyColumns(key))
    if (row === undefined) throw this.#refusal(key, event)
    return { key: decodeKey(row), vf: vfOf(row), netns: text(row, 'netns'), netnsIdentity: text(row, 'netns_identity') }
  }

  #one(key: AttachmentKey, event: LeaseEvent, changes: number | bigint): void {
    if (Number(changes) !== 1) throw this.#refusal(key, event)
  }

  #refusal(key: AttachmentKey, event: LeaseEvent): OffloadError {
    return refusal(this.#file, `attachment ${formatAttachmentKey(key)}`, this.get(key)?.phase, event)
  }
}
