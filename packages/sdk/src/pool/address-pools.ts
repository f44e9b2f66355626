import type { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '../errors/offload-error.ts'
import { addressAt, contains, offsetOf, type Subnet } from './subnet.ts'

/** A pool of addresses. */
export interface Pool {
  /** What its addresses are kept under: two pools with the same name have the same addresses. */
  readonly name: string
  /** Where its addresses are from. */
  readonly subnet: Subnet
  /** The one address of the subnet that nobody gets, by its distance from the first one; absent if there is none. */
  readonly gatewayOffset?: number
}

/** The tables of {@link AddressPools}, for `tables` of `openState`. */
export const POOL_TABLES: string = `
  CREATE TABLE addresses (
    subnet TEXT NOT NULL, offset INTEGER NOT NULL, key TEXT, freed INTEGER, asked INTEGER NOT NULL, PRIMARY KEY (subnet, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX held ON addresses (key) WHERE key IS NOT NULL;
  CREATE INDEX oldest ON addresses (subnet, freed) WHERE key IS NULL;
`

/**
 * Who has which address, in tables of the adapter's own file: addresses come and go in the same transaction as the attachments that have
 * them. An address is given again only after every other one of its pool was, the longest-free first; the cost of an assignment is a few
 * index look-ups, whatever the size of the pool.
 */
export class AddressPools {
  readonly #db: DatabaseSync

  /** @param db - has {@link POOL_TABLES}; transactions are the caller's */
  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /**
   * Gives somebody an address of a pool.
   *
   * @param owner - who has it from now on
   * @param wanted - which one; whichever comes next if it is absent
   * @throws OffloadError RESOURCE_EXHAUSTED that names the pool, or the wanted address that is taken
   */
  take(pool: Pool, owner: string, wanted?: number): string {
    const { name, subnet } = pool
    const offset = wanted ?? this.#next(pool)
    if (offset === undefined)
      throw new OffloadError('RESOURCE_EXHAUSTED', `no address of ${name} is free`, {
        hint: 'Give the pool a larger subnet or remove pods.',
      })
    const { changes } = this.#db
      .prepare(
        `INSERT INTO addresses VALUES (?, ?, ?, NULL, ?)
         ON CONFLICT DO UPDATE SET key = excluded.key, freed = NULL WHERE addresses.key IS NULL`,
      )
      .run(name, offset, owner, wanted === undefined ? 0 : 1)
    if (changes === 0)
      throw new OffloadError('RESOURCE_EXHAUSTED', `address ${addressAt(subnet, offset)} was asked for, but another pod has it`)
    return addressAt(subnet, offset)
  }

  /**
   * Makes sure that somebody has an address, if one of the pools has it at all.
   *
   * @throws OffloadError ALREADY_EXISTS when somebody else has it
   */
  claim(pools: readonly Pool[], address: string, owner: string): void {
    const pool = pools.find(({ subnet }) => contains(subnet, address))
    if (pool === undefined) return
    const { changes } = this.#db
      .prepare(
        `INSERT INTO addresses VALUES (?, ?, ?, NULL, 1)
         ON CONFLICT DO UPDATE SET key = excluded.key, freed = NULL WHERE addresses.key IS NULL OR addresses.key = excluded.key`,
      )
      .run(pool.name, offsetOf(pool.subnet, address), owner)
    if (changes === 0) throw new OffloadError('ALREADY_EXISTS', `address ${address} of ${owner} is held by another attachment`)
  }

  /** Takes all addresses from somebody; none is success. */
  release(owner: string): void {
    this.#db
      .prepare(
        'UPDATE addresses AS a SET key = NULL, freed = 1 + coalesce((SELECT max(freed) FROM addresses WHERE subnet = a.subnet AND key IS NULL), 0) WHERE key = ?',
      )
      .run(owner)
  }

  /** Whether an address of a pool is free. */
  hasRoom(pool: Pool): boolean {
    return this.#next(pool) !== undefined
  }

  #next(pool: Pool): number | undefined {
    return this.#fresh(pool) ?? this.#oldest(pool)
  }

  /** The next address that nobody ever had. What was asked for lies ahead of the others' row and is passed over. */
  #fresh({ name, subnet, gatewayOffset }: Pool): number | undefined {
    const last = this.#db
      .prepare('SELECT offset FROM addresses WHERE subnet = ? AND asked = 0 AND offset BETWEEN ? AND ? ORDER BY offset DESC LIMIT 1')
      .get(name, subnet.first, subnet.last)?.['offset']
    const known = this.#db.prepare('SELECT 1 FROM addresses WHERE subnet = ? AND offset = ?')
    let offset = typeof last === 'number' ? last + 1 : subnet.first
    while (offset === gatewayOffset || known.get(name, offset) !== undefined) offset++
    return offset <= subnet.last ? offset : undefined
  }

  #oldest({ name, subnet, gatewayOffset = -1 }: Pool): number | undefined {
    const row = this.#db
      .prepare(
        'SELECT offset FROM addresses WHERE subnet = ? AND key IS NULL AND offset BETWEEN ? AND ? AND offset <> ? ORDER BY freed LIMIT 1',
      )
      .get(name, subnet.first, subnet.last, gatewayOffset)
    return row === undefined ? undefined : Number(row['offset'])
  }
}
