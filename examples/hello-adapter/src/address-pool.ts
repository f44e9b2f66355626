import type { DatabaseSync } from 'node:sqlite'
import {
  type AttachmentKey,
  attachRequest,
  type AttachRequest,
  type AttachResult,
  attachResult,
  type Clock,
  formatAttachmentKey,
  type KnownAttachment,
  OffloadError,
  parseWith,
} from '@cni-offload/sdk'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import { addressAt, contains, offsetOf, type Subnet } from './subnet.ts'

/** A pool: a subnet and the one address in it that pods do not get. */
export interface Pool {
  readonly subnet: Subnet
  readonly gatewayOffset: number
}

/** Version of the tables. */
const SCHEMA_VERSION = 1

const TABLES = `
  CREATE TABLE attachments (key TEXT PRIMARY KEY, request TEXT NOT NULL, result TEXT NOT NULL) STRICT;
  CREATE TABLE addresses (
    subnet TEXT NOT NULL, offset INTEGER NOT NULL, key TEXT, freed INTEGER, asked INTEGER NOT NULL, PRIMARY KEY (subnet, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX held ON addresses (key) WHERE key IS NOT NULL;
  CREATE INDEX oldest ON addresses (subnet, freed) WHERE key IS NULL;
`

const HINT = 'Is the disk in order?'

/**
 * Addresses and attachments in SQLite. An address is given again only after every other one of its subnet was, the
 * longest-free first; the cost of an assignment is a few index look-ups, whatever the size of the pool.
 */
export class AddressPool implements Disposable {
  /** The former file, when it could not be read: this pool began empty. */
  readonly setAside: SetAside | undefined
  readonly #file: string
  readonly #pools: readonly Pool[]
  readonly #db: DatabaseSync

  /**
   * Opens or makes the database file. One that cannot be read is set aside.
   *
   * @throws OffloadError JOURNAL_FAILURE when the file is newer, or another adapter has it open
   */
  constructor(file: string, pools: readonly Pool[], clock: Pick<Clock, 'now'>) {
    this.#file = file
    this.#pools = pools
    const { db, setAside } = openState({
      file,
      owner: 'hello adapter',
      version: SCHEMA_VERSION,
      tables: TABLES,
      // A power loss of the DPU does not end the pods on the host, so a row must be on the disk before its address is in use.
      survives: 'power',
      verify: (opened) => void opened.prepare('SELECT * FROM attachments').all().forEach(decode),
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
  }

  /**
   * Takes one address of each pool and remembers the attachment, in one transaction.
   *
   * @param describe - makes the result from the addresses, in the order of the pools
   * @param wanted - offsets that were asked for, by the prefix of the subnet; of other pools any address is taken
   * @throws OffloadError RESOURCE_EXHAUSTED that names the subnet, or the wanted address that is taken; nothing is taken then
   */
  assign(
    request: AttachRequest,
    describe: (addresses: readonly string[]) => AttachResult,
    wanted: ReadonlyMap<string, number> = new Map(),
  ): KnownAttachment {
    return this.#transaction(() => {
      const text = formatAttachmentKey(request.key)
      const result = describe(this.#pools.map((pool) => this.#take(pool, text, wanted.get(pool.subnet.cidr))))
      this.#db.prepare('INSERT INTO attachments VALUES (?, ?, ?)').run(text, JSON.stringify(request), JSON.stringify(result))
      return { request, result }
    })
  }

  /**
   * Makes sure that a pod's attachment is known and that its addresses are held, as far as they are of these pools.
   *
   * @throws OffloadError ALREADY_EXISTS when another attachment has one of them; nothing is changed then
   */
  hold({ request, result }: KnownAttachment): void {
    this.#transaction(() => {
      const text = formatAttachmentKey(request.key)
      for (const { address } of result.ips) this.#claim(address, text)
      this.#db.prepare('INSERT OR IGNORE INTO attachments VALUES (?, ?, ?)').run(text, JSON.stringify(request), JSON.stringify(result))
    })
  }

  /** What an attachment has. */
  get(key: AttachmentKey): KnownAttachment | undefined {
    const row = this.#guard('read', () => this.#db.prepare('SELECT * FROM attachments WHERE key = ?').get(formatAttachmentKey(key)))
    return row === undefined ? undefined : decode(row)
  }

  /** All attachments. */
  all(): KnownAttachment[] {
    return this.#guard('read', () => this.#db.prepare('SELECT * FROM attachments').all()).map(decode)
  }

  /** Gives the addresses of an attachment back and forgets it; an unknown one is success. */
  release(key: AttachmentKey): void {
    this.#transaction(() => {
      const text = formatAttachmentKey(key)
      this.#db
        .prepare(
          'UPDATE addresses AS a SET key = NULL, freed = 1 + coalesce((SELECT max(freed) FROM addresses WHERE subnet = a.subnet AND key IS NULL), 0) WHERE key = ?',
        )
        .run(text)
      this.#db.prepare('DELETE FROM attachments WHERE key = ?').run(text)
    })
  }

  /** Subnets without a free address. */
  exhausted(): string[] {
    return this.#pools
      .filter((pool) => this.#fresh(pool) === undefined && this.#oldest(pool) === undefined)
      .map(({ subnet }) => subnet.cidr)
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  #take(pool: Pool, key: string, wanted: number | undefined): string {
    const { subnet } = pool
    const offset = wanted ?? this.#fresh(pool) ?? this.#oldest(pool)
    if (offset === undefined)
      throw new OffloadError('RESOURCE_EXHAUSTED', `no address of ${subnet.cidr} is free`, {
        hint: 'Give the pool a larger subnet or remove pods.',
      })
    const { changes } = this.#db
      .prepare(
        `INSERT INTO addresses VALUES (?, ?, ?, NULL, ?)
         ON CONFLICT DO UPDATE SET key = excluded.key, freed = NULL WHERE addresses.key IS NULL`,
      )
      .run(subnet.cidr, offset, key, wanted === undefined ? 0 : 1)
    if (changes === 0)
      throw new OffloadError('RESOURCE_EXHAUSTED', `address ${addressAt(subnet, offset)} was asked for, but another pod has it`)
    return addressAt(subnet, offset)
  }

  #claim(cidr: string, key: string): void {
    const address = cidr.slice(0, cidr.indexOf('/'))
    const pool = this.#pools.find(({ subnet }) => contains(subnet, address))
    if (pool === undefined) return
    const { changes } = this.#db
      .prepare(
        `INSERT INTO addresses VALUES (?, ?, ?, NULL, 1)
         ON CONFLICT DO UPDATE SET key = excluded.key, freed = NULL WHERE addresses.key IS NULL OR addresses.key = excluded.key`,
      )
      .run(pool.subnet.cidr, offsetOf(pool.subnet, address), key)
    if (changes === 0) throw new OffloadError('ALREADY_EXISTS', `address ${address} of ${key} is held by another attachment`)
  }

  /** The next address that nobody ever had. What was asked for lies ahead of the others' row and is passed over. */
  #fresh({ subnet, gatewayOffset }: Pool): number | undefined {
    const last = this.#db
      .prepare('SELECT offset FROM addresses WHERE subnet = ? AND asked = 0 ORDER BY offset DESC LIMIT 1')
      .get(subnet.cidr)?.['offset']
    const known = this.#db.prepare('SELECT 1 FROM addresses WHERE subnet = ? AND offset = ?')
    let offset = typeof last === 'number' ? last + 1 : subnet.first
    while (offset === gatewayOffset || known.get(subnet.cidr, offset) !== undefined) offset++
    return offset <= subnet.last ? offset : undefined
  }

  #oldest({ subnet }: Pool): number | undefined {
    const row = this.#db.prepare('SELECT offset FROM addresses WHERE subnet = ? AND key IS NULL ORDER BY freed LIMIT 1').get(subnet.cidr)
    return row === undefined ? undefined : Number(row['offset'])
  }

  #transaction<T>(body: () => T): T {
    return this.#guard('write', () => {
      this.#db.exec('BEGIN IMMEDIATE')
      try {
        const value = body()
        this.#db.exec('COMMIT')
        return value
      } catch (error) {
        // A full disk has ended the transaction already.
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
        throw error
      }
    })
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, HINT, work)
  }
}

function decode(row: Record<string, unknown>): KnownAttachment {
  const stored = (column: string): unknown => JSON.parse(String(row[column]))
  const request = parseWith(attachRequest, stored('request'), 'stored request', 'JOURNAL_FAILURE')
  if (formatAttachmentKey(request.key) !== row['key'])
    throw new OffloadError('JOURNAL_FAILURE', `the request of ${String(row['key'])} names another attachment`)
  return { request, result: parseWith(attachResult, stored('result'), 'stored result', 'JOURNAL_FAILURE') }
}
