import type { DatabaseSync, StatementSync } from 'node:sqlite'
import {
  type AttachmentKey,
  attachRequest,
  type AttachRequest,
  type AttachResult,
  attachResult,
  type Clock,
  formatAttachmentKey,
  formatVfId,
  OffloadError,
  parseWith,
  type PortRef,
} from '@cni-offload/sdk'
import { z } from 'zod'
import { type PluginList, pluginList, type PodAddresses, type RawResult } from '@cni-offload/sdk/exec'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'

/** All that is needed to repeat, check and undo an attachment, whatever the configuration is by then. */
export interface StoredAttachment {
  /** Identity. */
  readonly key: AttachmentKey
  /** Port that it has. */
  readonly port: PortRef
  /** What was asked for. */
  readonly request: AttachRequest
  /** List that ADD was run with. */
  readonly list: PluginList
  /** Result of the list, for CHECK and DEL; absent, with an answer, where another's memory of the attachment was taken over. */
  readonly raw?: RawResult
  /** Answer of attach; absent until it is complete, and again once it is being undone. */
  readonly result?: AttachResult
  /** What a running pod has, from when its attachment is undone to be made anew until that has succeeded. */
  readonly again?: PodAddresses
  /** CHECK of this list has found this attachment as ADD had left it at least once: when it finds damage later, that counts. */
  readonly found?: boolean
  /** It was made anew for a running pod that has not been told yet where its gateways are now. */
  readonly unannounced?: boolean
  /** What the runner of its plugins wants to be kept with it. */
  readonly kept?: Readonly<Record<string, string>>
}

const stored: z.ZodType<Omit<StoredAttachment, 'key' | 'port'>> = z.object({
  request: attachRequest,
  list: pluginList,
  raw: z.record(z.string(), z.unknown()).exactOptional(),
  result: attachResult.exactOptional(),
  again: z.object({ ips: z.array(z.string()), mac: z.string() }).exactOptional(),
  found: z.boolean().exactOptional(),
  unannounced: z.boolean().exactOptional(),
  kept: z.record(z.string(), z.string()).exactOptional(),
})

/** Version of the tables. */
const SCHEMA_VERSION = 1

const TABLES = `
  CREATE TABLE attachments (key TEXT PRIMARY KEY, vf TEXT NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE INDEX by_vf ON attachments (vf);
`

const HINT = 'Is the disk in order?'

/** Attachments of an adapter in SQLite. A row is there from before the first plugin runs until after the last has undone. */
export class AttachmentStore implements Disposable {
  /** The former file, when it could not be read: this store began empty. */
  readonly setAside: SetAside | undefined
  readonly #file: string
  readonly #db: DatabaseSync
  readonly #get: StatementSync
  readonly #all: StatementSync
  readonly #byVf: StatementSync
  readonly #put: StatementSync
  readonly #delete: StatementSync

  /**
   * Opens or makes the database file. One that cannot be read is set aside.
   *
   * @throws OffloadError JOURNAL_FAILURE when the file is newer, or another adapter has it open
   */
  constructor(file: string, clock: Pick<Clock, 'now'>) {
    this.#file = file
    const { db, setAside } = openState({
      file,
      owner: 'delegate adapter',
      version: SCHEMA_VERSION,
      tables: TABLES,
      // A power loss of the DPU does not end the pods on the host, so a row must be on the disk before the list acts.
      survives: 'power',
      verify,
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    this.#get = db.prepare('SELECT body FROM attachments WHERE key = ?')
    this.#all = db.prepare('SELECT body FROM attachments')
    this.#byVf = db.prepare('SELECT body FROM attachments WHERE vf = ?')
    this.#put = db.prepare('INSERT INTO attachments VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET vf = excluded.vf, body = excluded.body')
    this.#delete = db.prepare('DELETE FROM attachments WHERE key = ?')
  }

  /** One attachment. @throws OffloadError JOURNAL_FAILURE */
  get(key: AttachmentKey): StoredAttachment | undefined {
    return this.#guard('read', () => this.#get.all(formatAttachmentKey(key)).map(decode)[0])
  }

  /** All attachments. @throws OffloadError JOURNAL_FAILURE */
  all(): StoredAttachment[] {
    return this.#guard('read', () => this.#all.all().map(decode))
  }

  /** Attachments that hold a port, more than one only if something went wrong. @throws OffloadError JOURNAL_FAILURE */
  byPort(port: PortRef): StoredAttachment[] {
    return this.#guard('read', () => this.#byVf.all(formatVfId(port.vf)).map(decode))
  }

  /** Remembers an attachment; on the disk when it returns. @throws OffloadError JOURNAL_FAILURE */
  put({ key, port, ...body }: StoredAttachment): void {
    this.#guard('write', () => this.#put.run(formatAttachmentKey(key), formatVfId(port.vf), JSON.stringify(body)))
  }

  /** Forgets an attachment; an unknown one is success. @throws OffloadError JOURNAL_FAILURE */
  delete(key: AttachmentKey): void {
    this.#guard('write', () => this.#delete.run(formatAttachmentKey(key)))
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, HINT, work)
  }
}

function decode(row: Record<string, unknown>): StoredAttachment {
  const body = parseWith(stored, JSON.parse(String(row['body'])), 'stored attachment', 'JOURNAL_FAILURE')
  return { key: body.request.key, port: body.request.port, ...body }
}

function verify(db: DatabaseSync): void {
  for (const row of db.prepare('SELECT * FROM attachments').all()) {
    const { key, port } = decode(row)
    if (formatAttachmentKey(key) !== row['key'] || formatVfId(port.vf) !== row['vf'])
      throw new OffloadError('JOURNAL_FAILURE', `the row of ${String(row['key'])} describes ${formatAttachmentKey(key)}`)
  }
}
