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
  type RememberedAttachment,
} from '@cni-offload/sdk'
import { AddressPools, type Pool, POOL_TABLES } from '@cni-offload/sdk/pool'
import { guardState, inTransaction, openState, type SetAside } from '@cni-offload/sdk/sqlite'

/** Version of the tables. */
const SCHEMA_VERSION = 1

const TABLES = `
  CREATE TABLE attachments (key TEXT PRIMARY KEY, mac TEXT NOT NULL, request TEXT NOT NULL, result TEXT) STRICT;
  CREATE INDEX macs ON attachments (mac);
  ${POOL_TABLES}
`

const HINT = 'Is the disk in order?'

/** Attachments and the addresses of own pools, in one SQLite file: what one of them says is on the disk before anything is done. */
export class AttachmentStore implements Disposable {
  /** The former file, when it could not be read: this one began empty. */
  readonly setAside: SetAside | undefined
  readonly #file: string
  readonly #db: DatabaseSync
  readonly #pools: AddressPools

  /**
   * Opens or makes the database file. One that cannot be read is set aside.
   *
   * @throws OffloadError JOURNAL_FAILURE when the file is newer, or another adapter has it open
   */
  constructor(file: string, clock: Pick<Clock, 'now'>) {
    this.#file = file
    const { db, setAside } = openState({
      file,
      owner: 'sriov adapter',
      version: SCHEMA_VERSION,
      tables: TABLES,
      // A power loss of the DPU does not end the pods on the host, so a row must be on the disk before its address is in use.
      survives: 'power',
      verify: (opened) => void opened.prepare('SELECT * FROM attachments').all().forEach(decode),
      now: () => clock.now(),
    })
    this.#db = db
    this.#pools = new AddressPools(db)
    this.setAside = setAside
  }

  /**
   * Notes that an attachment begins: whatever happens from here on, there is something to detach.
   *
   * @throws OffloadError ALREADY_EXISTS when another attachment has the MAC
   */
  begin(request: AttachRequest, mac: string): void {
    const key = formatAttachmentKey(request.key)
    this.#transaction(() => {
      const other = this.#db.prepare('SELECT key FROM attachments WHERE mac = ? AND key <> ?').get(mac, key)?.['key']
      if (other !== undefined)
        throw new OffloadError('ALREADY_EXISTS', `MAC ${mac} of ${key} is that of ${String(other)} on the same DPU`, {
          hint: 'Give each pod a MAC of its own, whatever VLAN it is in.',
        })
      this.#db
        .prepare(
          'INSERT INTO attachments VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET mac = excluded.mac, request = excluded.request, result = NULL',
        )
        .run(key, mac, JSON.stringify(request))
    })
  }

  /** Notes what an attachment that has begun is answered with. */
  finish(request: AttachRequest, result: AttachResult): void {
    this.#transaction(() => this.#answer(request, result))
  }

  /**
   * Takes one address of each pool and notes the answer, in one transaction.
   *
   * @param wanted - offsets that were asked for, by the name of the pool
   * @param describe - makes the answer of the addresses, in the order of the pools
   * @throws OffloadError RESOURCE_EXHAUSTED; nothing is taken then
   */
  assign(
    request: AttachRequest,
    pools: readonly Pool[],
    wanted: ReadonlyMap<string, number>,
    describe: (addresses: readonly string[]) => AttachResult,
  ): AttachResult {
    return this.#transaction(() => {
      const owner = formatAttachmentKey(request.key)
      const result = describe(pools.map((pool) => this.#pools.take(pool, owner, wanted.get(pool.name))))
      this.#answer(request, result)
      return result
    })
  }

  /**
   * Makes sure that a pod's attachment is known and that its addresses are held, as far as they are of these pools.
   *
   * @throws OffloadError ALREADY_EXISTS when another attachment has one of them; nothing is changed then
   */
  hold({ request, result }: KnownAttachment, pools: readonly Pool[]): void {
    const key = formatAttachmentKey(request.key)
    this.#transaction(() => {
      for (const { address } of result.ips) this.#pools.claim(pools, address.slice(0, address.indexOf('/')), key)
      this.#db
        .prepare('INSERT OR IGNORE INTO attachments VALUES (?, ?, ?, ?)')
        .run(key, result.mac, JSON.stringify(request), JSON.stringify(result))
    })
  }

  /** What is known of an attachment. */
  get(key: AttachmentKey): RememberedAttachment | undefined {
    const row = this.#guard('read', () => this.#db.prepare('SELECT * FROM attachments WHERE key = ?').get(formatAttachmentKey(key)))
    return row === undefined ? undefined : decode(row)
  }

  /** All attachments. */
  all(): RememberedAttachment[] {
    return this.#guard('read', () => this.#db.prepare('SELECT * FROM attachments').all()).map(decode)
  }

  /** Gives the addresses of an attachment back to their pools; it stays known. */
  release(key: AttachmentKey): void {
    this.#transaction(() => this.#pools.release(formatAttachmentKey(key)))
  }

  /** Forgets an attachment and gives its addresses back; an unknown one is success. */
  forget(key: AttachmentKey): void {
    this.#transaction(() => {
      this.#pools.release(formatAttachmentKey(key))
      this.#db.prepare('DELETE FROM attachments WHERE key = ?').run(formatAttachmentKey(key))
    })
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#db.close()
  }

  #answer(request: AttachRequest, result: AttachResult): void {
    this.#db
      .prepare('UPDATE attachments SET request = ?, result = ? WHERE key = ?')
      .run(JSON.stringify(request), JSON.stringify(result), formatAttachmentKey(request.key))
  }

  #transaction<T>(body: () => T): T {
    return this.#guard('write', () => inTransaction(this.#db, body))
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, HINT, work)
  }
}

function decode(row: Record<string, unknown>): RememberedAttachment {
  const stored = (column: string): unknown => JSON.parse(String(row[column]))
  const request = parseWith(attachRequest, stored('request'), 'stored request', 'JOURNAL_FAILURE')
  if (formatAttachmentKey(request.key) !== row['key'])
    throw new OffloadError('JOURNAL_FAILURE', `the request of ${String(row['key'])} names another attachment`)
  if (row['result'] === null) return { request }
  return { request, result: parseWith(attachResult, stored('result'), 'stored result', 'JOURNAL_FAILURE') }
}
