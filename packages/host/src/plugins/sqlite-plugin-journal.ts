import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { type AttachmentKey, attachmentKeySchema, type Clock, formatAttachmentKey, OffloadError, parseWith } from '@cni-offload/sdk'
import type { RawResult } from '@cni-offload/sdk/exec'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import type { PluginJournal, PluginPhase, PluginRequest, PluginRow } from './types.ts'

/** Version of the table, kept in `user_version`. */
const SCHEMA_VERSION = 1

/** What plugins leave (reservations of addresses, for one) outlives a power cut, so a row must be on the disk before they act. */
const tables = (table: string): string => `
  CREATE TABLE ${table} (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    container_id TEXT NOT NULL,
    if_name TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('adding', 'added', 'ending')),
    request TEXT NOT NULL,
    result TEXT,
    failure TEXT,
    created_ms INTEGER NOT NULL,
    UNIQUE (network, container_id, if_name)
  ) STRICT;
  CREATE INDEX ${table}_ending ON ${table} (seq) WHERE phase = 'ending';
`

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'

const statements = (table: string) =>
  ({
    begin: `INSERT INTO ${table} (network, container_id, if_name, phase, request, created_ms) VALUES (?, ?, ?, 'adding', ?, ?)
      ON CONFLICT DO NOTHING RETURNING seq`,
    get: `SELECT * FROM ${table} WHERE ${BY_KEY}`,
    all: `SELECT * FROM ${table} ORDER BY seq`,
    of: `SELECT * FROM ${table} WHERE network = ? ORDER BY seq`,
    ending: `SELECT seq, request FROM ${table} WHERE phase = 'ending' ORDER BY seq`,
    added: `UPDATE ${table} SET phase = 'added', result = ? WHERE ${BY_KEY}`,
    end: `UPDATE ${table} SET phase = 'ending', failure = coalesce(?, failure) WHERE ${BY_KEY}`,
    remove: `DELETE FROM ${table} WHERE ${BY_KEY}`,
    counts: `SELECT phase, count(*) AS n FROM ${table} GROUP BY phase`,
  }) as const

type Statement = keyof ReturnType<typeof statements>

type Row = Record<string, SQLOutputValue>

const keyOf = (key: AttachmentKey): [string, string, string] => [key.network, key.containerId, key.ifName]

// Written by this daemon from values that had been validated at the border.
const requestOf = <R extends PluginRequest>(row: Row): R => JSON.parse(String(row['request'])) as R

/** What a {@link SqlitePluginJournal} is. */
export interface PluginJournalSpec {
  /** Path. */
  readonly file: string
  /** Name of its table. */
  readonly table: string
  /** What an attachment has in it, for messages: `the network of the host`. */
  readonly holds: string
  /** Time. */
  readonly clock: Clock
}

/**
 * {@link PluginJournal} in an SQLite file of its own. Each write waits for the disk, so it is for attachments only that plugins are run
 * for on this host.
 */
export class SqlitePluginJournal<R extends PluginRequest> implements PluginJournal<R> {
  readonly #spec: PluginJournalSpec
  readonly #db: DatabaseSync
  readonly #sql: Record<Statement, StatementSync>

  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined

  /** Opens or makes the file; one that cannot be read is set aside. @throws OffloadError JOURNAL_FAILURE when it is of a newer version */
  constructor(spec: PluginJournalSpec) {
    this.#spec = spec
    const sql = statements(spec.table)
    const { db, setAside } = openState({
      file: spec.file,
      owner: 'host daemon',
      version: SCHEMA_VERSION,
      tables: tables(spec.table),
      survives: 'power',
      verify: (opened) => opened.prepare(sql.all).all().forEach(verify),
      now: () => spec.clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    try {
      this.#sql = this.#guard('open', () => {
        const prepared = Object.entries(sql).map(([name, text]) => [name, db.prepare(text)])
        return Object.fromEntries(prepared) as Record<Statement, StatementSync>
      })
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** @inheritDoc */
  begin(request: R): PluginRow<R> {
    const createdAt = this.#spec.clock.now()
    const row = this.#guard('write', () => this.#sql.begin.get(...keyOf(request.key), JSON.stringify(request), createdAt))
    if (row === undefined)
      throw new OffloadError('ALREADY_EXISTS', `attachment ${formatAttachmentKey(request.key)} exists already, with ${this.#spec.holds}`)
    return { ...request, seq: Number(row['seq']), phase: 'adding', createdAt }
  }

  /** @inheritDoc */
  get(key: AttachmentKey): PluginRow<R> | undefined {
    const row = this.#guard('read', () => this.#sql.get.get(...keyOf(key)))
    return row === undefined ? undefined : decode<R>(row)
  }

  /** @inheritDoc */
  all(): PluginRow<R>[] {
    return this.#guard('read', () => this.#sql.all.all().map((row) => decode<R>(row)))
  }

  /** @inheritDoc */
  of(network: string): PluginRow<R>[] {
    return this.#guard('read', () => this.#sql.of.all(network).map((row) => decode<R>(row)))
  }

  /** @inheritDoc */
  ending(): { readonly seq: number; readonly key: AttachmentKey }[] {
    return this.#guard('read', () => this.#sql.ending.all().map((row) => ({ seq: Number(row['seq']), key: requestOf<R>(row).key })))
  }

  /** @inheritDoc */
  added(key: AttachmentKey, result: RawResult): void {
    this.#one(key, this.#write('added', JSON.stringify(result), ...keyOf(key)))
  }

  /** @inheritDoc */
  end(key: AttachmentKey, failure?: string): void {
    this.#one(key, this.#write('end', failure ?? null, ...keyOf(key)))
  }

  /** @inheritDoc */
  remove(key: AttachmentKey): void {
    this.#write('remove', ...keyOf(key))
  }

  /** @inheritDoc */
  counts(): Record<PluginPhase, number> {
    const found = this.#guard('read', () => new Map(this.#sql.counts.all().map((row) => [row['phase'], Number(row['n'])])))
    return { adding: found.get('adding') ?? 0, added: found.get('added') ?? 0, ending: found.get('ending') ?? 0 }
  }

  /** Closes the file. What is in it stays. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #write(statement: Statement, ...values: SQLInputValue[]): number {
    return this.#guard('write', () => Number(this.#sql[statement].run(...values).changes))
  }

  #one(key: AttachmentKey, changes: number): void {
    if (changes !== 1)
      throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#spec.file}: attachment ${formatAttachmentKey(key)} has vanished`)
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#spec.file, what, 'Is the disk in order?', work)
  }
}

function verify(row: Row): void {
  const { key } = decode(row)
  const column = { network: String(row['network']), containerId: String(row['container_id']), ifName: String(row['if_name']) }
  const name = formatAttachmentKey(column)
  if (formatAttachmentKey(parseWith(attachmentKeySchema, key, 'request', 'JOURNAL_FAILURE')) !== name)
    throw new OffloadError('JOURNAL_FAILURE', `the request of ${name} names another attachment`)
}

function decode<R extends PluginRequest>(row: Row): PluginRow<R> {
  const { result, failure } = row
  return {
    ...requestOf<R>(row),
    seq: Number(row['seq']),
    phase: String(row['phase']) as PluginPhase,
    ...(typeof result === 'string' ? { result: JSON.parse(result) as RawResult } : {}),
    ...(typeof failure === 'string' ? { failure } : {}),
    createdAt: Number(row['created_ms']),
  }
}
