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
import { AddressPools, type Pool, POOL_TABLES } from '@cni-offload/sdk/pool'
import { guardState, inTransaction, openState, type SetAside } from '@cni-offload/sdk/sqlite'

/** Version of the tables. */
const SCHEMA_VERSION = 1

const TABLES = `
  CREATE TABLE attachments (key TEXT PRIMARY KEY, request TEXT NOT NULL, result TEXT NOT NULL) STRICT;
  ${POOL_TABLES}
`

const HINT = 'Is the disk in order?'

/** The attachments and the addresses that they have, in SQLite: one never changes without the other. */
export class Attachments implements Disposable {
  /** The former file, when it could not be read: this pool began empty. */
  readonly setAside: SetAside | undefined
  readonly #file: string
  readonly #pools: readonly Pool[]
  readonly #db: DatabaseSync
  readonly #addresses: AddressPools

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
    this.#addresses = new AddressPools(db)
    this.setAside = setAside
  }

  /**
   * Takes one address of each pool and remembers the attachment, in one transaction.
   *
   * @param describe - makes the result from the addresses, in the order of the pools
   * @param wanted - offsets that were asked for, by the name of the pool; of other pools any address is taken
   * @throws OffloadError RESOURCE_EXHAUSTED that names the subnet, or the wanted address that is taken; nothing is taken then
   */
  assign(
    request: AttachRequest,
    describe: (addresses: readonly string[]) => AttachResult,
    wanted: ReadonlyMap<string, number> = new Map(),
  ): KnownAttachment {
    return this.#transaction(() => {
      const text = formatAttachmentKey(request.key)
      const result = describe(this.#pools.map((pool) => this.#addresses.take(pool, text, wanted.get(pool.name))))
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
      for (const { address } of result.ips) this.#addresses.claim(this.#pools, address.slice(0, address.indexOf('/')), text)
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
      this.#addresses.release(text)
      this.#db.prepare('DELETE FROM attachments WHERE key = ?').run(text)
    })
  }

  /** Subnets without a free address. */
  exhausted(): string[] {
    return this.#pools.filter((pool) => !this.#addresses.hasRoom(pool)).map(({ name }) => name)
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  #transaction<T>(body: () => T): T {
    return this.#guard('write', () => inTransaction(this.#db, body))
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
