import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { type AttachmentKey, attachmentKeySchema, type Clock, formatAttachmentKey, OffloadError, parseWith } from '@cni-offload/sdk'
import type { RawResult } from '@cni-offload/sdk/exec'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import type { FallbackJournal, FallbackPhase, FallbackRequest, FallbackRow } from './types.ts'

/** Version of the table, kept in `user_version`. */
const SCHEMA_VERSION = 1

/**
 * What plugins leave (reservations of addresses, for one) outlives a power cut, so a row must be on the disk before they act.
 * The pods of an offloaded node never wait for that: this file is written for attachments on the host's network only.
 */
const TABLES = `
  CREATE TABLE fallbacks (
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
  CREATE INDEX fallbacks_ending ON fallbacks (seq) WHERE phase = 'ending';
`

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'

const STATEMENTS = {
  begin: `INSERT INTO fallbacks (network, container_id, if_name, phase, request, created_ms) VALUES (?, ?, ?, 'adding', ?, ?)
    ON CONFLICT DO NOTHING RETURNING seq`,
  get: `SELECT * FROM fallbacks WHERE ${BY_KEY}`,
  all: 'SELECT * FROM fallbacks ORDER BY seq',
  ending: `SELECT seq, request FROM fallbacks WHERE phase = 'ending' ORDER BY seq`,
  added: `UPDATE fallbacks SET phase = 'added', result = ? WHERE ${BY_KEY}`,
  end: `UPDATE fallbacks SET phase = 'ending', failure = coalesce(?, failure) WHERE ${BY_KEY}`,
  remove: `DELETE FROM fallbacks WHERE ${BY_KEY}`,
  counts: 'SELECT phase, count(*) AS n FROM fallbacks GROUP BY phase',
} as const

type Row = Record<string, SQLOutputValue>

const keyOf = (key: AttachmentKey): [string, string, string] => [key.network, key.containerId, key.ifName]

// Written by this daemon from values that had been validated at the border.
const requestOf = (row: Row): FallbackRequest => JSON.parse(String(row['request'])) as FallbackRequest

/** {@link FallbackJournal} in an SQLite file of its own. */
export class SqliteFallbackJournal implements FallbackJournal {
  readonly #file: string
  readonly #clock: Clock
  readonly #db: DatabaseSync
  readonly #sql: Record<keyof typeof STATEMENTS, StatementSync>

  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined

  /** Opens or makes the file; one that cannot be read is set aside. @throws OffloadError JOURNAL_FAILURE when it is of a newer version */
  constructor(file: string, clock: Clock) {
    this.#file = file
    this.#clock = clock
    const { db, setAside } = openState({
      file,
      owner: 'host daemon',
      version: SCHEMA_VERSION,
      tables: TABLES,
      survives: 'power',
      verify: (opened) => opened.prepare(STATEMENTS.all).all().forEach(verify),
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    try {
      this.#sql = this.#guard('open', () => {
        const statements = Object.entries(STATEMENTS).map(([name, sql]) => [name, db.prepare(sql)])
        return Object.fromEntries(statements) as Record<keyof typeof STATEMENTS, StatementSync>
      })
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** @inheritDoc */
  begin(request: FallbackRequest): FallbackRow {
    const createdAt = this.#clock.now()
    const row = this.#guard('write', () => this.#sql.begin.get(...keyOf(request.key), JSON.stringify(request), createdAt))
    if (row === undefined)
      throw new OffloadError('ALREADY_EXISTS', `attachment ${formatAttachmentKey(request.key)} exists already, on the host's network`)
    return { ...request, seq: Number(row['seq']), phase: 'adding', createdAt }
  }

  /** @inheritDoc */
  get(key: AttachmentKey): FallbackRow | undefined {
    const row = this.#guard('read', () => this.#sql.get.get(...keyOf(key)))
    return row === undefined ? undefined : decode(row)
  }

  /** @inheritDoc */
  all(): FallbackRow[] {
    return this.#guard('read', () => this.#sql.all.all().map(decode))
  }

  /** @inheritDoc */
  ending(): Pick<FallbackRow, 'seq' | 'key'>[] {
    return this.#guard('read', () => this.#sql.ending.all().map((row) => ({ seq: Number(row['seq']), key: requestOf(row).key })))
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
  counts(): Record<FallbackPhase, number> {
    const found = this.#guard('read', () => new Map(this.#sql.counts.all().map((row) => [row['phase'], Number(row['n'])])))
    return { adding: found.get('adding') ?? 0, added: found.get('added') ?? 0, ending: found.get('ending') ?? 0 }
  }

  /** Closes the file. What is in it stays. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #write(statement: keyof typeof STATEMENTS, ...values: SQLInputValue[]): number {
    return this.#guard('write', () => Number(this.#sql[statement].run(...values).changes))
  }

  #one(key: AttachmentKey, changes: number): void {
    if (changes !== 1)
      throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: attachment ${formatAttachmentKey(key)} has vanished`)
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, 'Is the disk in order?', work)
  }
}

function verify(row: Row): void {
  const { key } = decode(row)
  const column = { network: String(row['network']), containerId: String(row['container_id']), ifName: String(row['if_name']) }
  const name = formatAttachmentKey(column)
  if (formatAttachmentKey(parseWith(attachmentKeySchema, key, 'request', 'JOURNAL_FAILURE')) !== name)
    throw new OffloadError('JOURNAL_FAILURE', `the request of ${name} names another attachment`)
}

function decode(row: Row): FallbackRow {
  const { result, failure } = row
  return {
    ...requestOf(row),
    seq: Number(row['seq']),
    phase: String(row['phase']) as FallbackPhase,
    ...(typeof result === 'string' ? { result: JSON.parse(result) as RawResult } : {}),
    ...(typeof failure === 'string' ? { failure } : {}),
    createdAt: Number(row['created_ms']),
  }
}
