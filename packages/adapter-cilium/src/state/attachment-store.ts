import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import {
  type AttachmentKey,
  attachmentKeySchema,
  attachRequest,
  type AttachRequest,
  type AttachResult,
  attachResult,
  type Clock,
  formatAttachmentKey,
  formatVfId,
  ipAddress,
  macAddress,
  OffloadError,
  parseWith,
  type PortRef,
} from '@cni-offload/sdk'
import { guardState, inTransaction, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import { z } from 'zod'
import type { Pools } from '../agent-api/pools.ts'
import { AttachmentIndex } from './attachment-index.ts'

/** What a running pod has and must keep. */
export interface PodAddresses {
  /** MAC. */
  readonly mac: string
  /** Addresses without prefix length. */
  readonly ips: readonly string[]
}

/** An attachment, from before the first call of the agent's API until after the last. */
export interface StoredAttachment {
  /** What was asked for. */
  readonly request: AttachRequest
  /** Addresses that were allocated for it. */
  readonly ips: readonly string[]
  /** Pools of the addresses that are not of the default one. */
  readonly pools?: Pools
  /** Answer of attach; absent until it is complete. */
  readonly result?: AttachResult
  /** What its running pod has, from when it is undone to be made anew until that has succeeded. */
  readonly again?: PodAddresses
}

/** An endpoint that has to go, and has not yet because the agent was away. */
export interface DueDeletion {
  /** Attachment that it was of. */
  readonly key: AttachmentKey
  /** Owner of the addresses. */
  readonly owner: string
  /** Addresses that go with it. */
  readonly ips: readonly string[]
  /** Pools of the addresses that are not of the default one. */
  readonly pools?: Pools
  /** Not done for good before this time, milliseconds since the epoch: until then endpoint or addresses may still appear. */
  readonly notBefore?: number
  /** The attachment was made anew meanwhile: only addresses that no attachment has are still to be looked for. */
  readonly made?: true
}

const ips = z.array(ipAddress)
const pools = z.record(ipAddress, z.string().min(1)).exactOptional()

const stored: z.ZodType<StoredAttachment> = z.object({
  request: attachRequest,
  ips,
  pools,
  result: attachResult.exactOptional(),
  again: z.object({ mac: macAddress, ips }).exactOptional(),
})

const due: z.ZodType<DueDeletion> = z.object({
  key: attachmentKeySchema,
  owner: z.string(),
  ips,
  pools,
  notBefore: z.number().exactOptional(),
  made: z.literal(true).exactOptional(),
})

const TABLES = `
  CREATE TABLE attachments (key TEXT PRIMARY KEY, vf TEXT NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE INDEX by_vf ON attachments (vf);
  CREATE TABLE deletions (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
`

/** Attachments and due deletions in SQLite. */
export class AttachmentStore implements Disposable {
  /** The former file, when it could not be read: this store began empty. */
  readonly setAside: SetAside | undefined
  readonly #file: string
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #index = new AttachmentIndex()

  /**
   * Opens or makes the database file. One that cannot be read is set aside.
   *
   * @throws OffloadError JOURNAL_FAILURE when the file is newer, or another adapter has it open
   */
  constructor(file: string, clock: Pick<Clock, 'now'>) {
    this.#file = file
    const { db, setAside } = openState({
      file,
      owner: 'cilium adapter',
      version: 1,
      tables: TABLES,
      // A power loss of the DPU does not end the pods on the host, so a row must be on the disk before the agent is asked.
      survives: 'power',
      verify,
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    try {
      for (const attachment of this.all()) this.#index.set(attachment)
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** One attachment. @throws OffloadError JOURNAL_FAILURE */
  get(key: AttachmentKey): StoredAttachment | undefined {
    return this.#read('SELECT body FROM attachments WHERE key = ?', stored, formatAttachmentKey(key))[0]
  }

  /** All attachments, each one read: for once in a while. @throws OffloadError JOURNAL_FAILURE */
  all(): StoredAttachment[] {
    return this.#read('SELECT body FROM attachments', stored)
  }

  /** Keys of all attachments; nothing is read. */
  keys(): AttachmentKey[] {
    return this.#index.keys()
  }

  /** Whether any attachment, but for the one that is named, has an address, or has to get it back; nothing is read. */
  othersHave(ip: string, key?: AttachmentKey): boolean {
    return this.#index.othersHave(ip, key)
  }

  /** Never: addresses are put on record while nobody else can take or give any. */
  taking(): boolean {
    return false
  }

  /** Attachments that hold a port, more than one only if something went wrong. @throws OffloadError JOURNAL_FAILURE */
  byPort(port: PortRef): StoredAttachment[] {
    return this.#read('SELECT body FROM attachments WHERE vf = ?', stored, formatVfId(port.vf))
  }

  /** Remembers an attachment; on the disk when it returns. @throws OffloadError JOURNAL_FAILURE */
  put(attachment: StoredAttachment): void {
    const { key, port } = attachment.request
    this.#write(
      'INSERT INTO attachments VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET vf = excluded.vf, body = excluded.body',
      formatAttachmentKey(key),
      formatVfId(port.vf),
      JSON.stringify(attachment),
    )
    this.#index.set(attachment)
  }

  /** Forgets an attachment; an unknown one is success. @throws OffloadError JOURNAL_FAILURE */
  delete(key: AttachmentKey): void {
    this.#write('DELETE FROM attachments WHERE key = ?', formatAttachmentKey(key))
    this.#index.delete(key)
  }

  /** Deletions that are due, the one that waits longest first. @throws OffloadError JOURNAL_FAILURE */
  deletions(): DueDeletion[] {
    return this.#read('SELECT body FROM deletions ORDER BY rowid', due)
  }

  /** The deletion that is due for an attachment. @throws OffloadError JOURNAL_FAILURE */
  deletion(key: AttachmentKey): DueDeletion | undefined {
    return this.#read('SELECT body FROM deletions WHERE key = ?', due, formatAttachmentKey(key))[0]
  }

  /** Turns an attachment, if there still is one, into a deletion that is due; both or neither. @throws OffloadError JOURNAL_FAILURE */
  postpone(deletion: DueDeletion): void {
    const id = formatAttachmentKey(deletion.key)
    guardState(this.#file, 'write', HINT, () =>
      inTransaction(this.#db, () => {
        this.putDeletion(deletion)
        this.#write('DELETE FROM attachments WHERE key = ?', id)
      }),
    )
    this.#index.delete(deletion.key)
  }

  /** Remembers a deletion that is due, whatever attachment there is. @throws OffloadError JOURNAL_FAILURE */
  putDeletion(deletion: DueDeletion): void {
    this.#write(
      'INSERT INTO deletions VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body',
      formatAttachmentKey(deletion.key),
      JSON.stringify(deletion),
    )
  }

  /** A deletion was done. @throws OffloadError JOURNAL_FAILURE */
  deleted(key: AttachmentKey): void {
    this.#write('DELETE FROM deletions WHERE key = ?', formatAttachmentKey(key))
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  #read<T>(sql: string, schema: z.ZodType<T>, ...values: SQLInputValue[]): T[] {
    return guardState(this.#file, 'read', HINT, () =>
      this.#prepared(sql)
        .all(...values)
        .map((row) => decode(row, schema)),
    )
  }

  #write(sql: string, ...values: SQLInputValue[]): void {
    guardState(this.#file, 'write', HINT, () => this.#prepared(sql).run(...values))
  }

  #prepared(sql: string): StatementSync {
    const statement = this.#statements.get(sql) ?? this.#db.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }
}

const HINT = 'Is the disk in order?'

function decode<T>(row: Record<string, unknown>, schema: z.ZodType<T>): T {
  return parseWith(schema, JSON.parse(String(row['body'])), 'stored attachment', 'JOURNAL_FAILURE')
}

function verify(db: DatabaseSync): void {
  for (const row of db.prepare('SELECT * FROM attachments').all()) {
    const { key, port } = decode(row, stored).request
    if (formatAttachmentKey(key) !== row['key'] || formatVfId(port.vf) !== row['vf'])
      throw new OffloadError('JOURNAL_FAILURE', `the row of ${String(row['key'])} describes ${formatAttachmentKey(key)}`)
  }
  for (const row of db.prepare('SELECT * FROM deletions').all()) decode(row, due)
}
