import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OffloadError } from '../../src/index.ts'
import { openState, type OpenState, type StateSpec } from '../../src/sqlite/index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'state-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const file = (): string => join(dir, 'deep', 'state.db')
const NAME = 'state.db.unreadable-20261123T000000Z'

const open = (more: Partial<StateSpec> = {}): OpenState =>
  openState({
    file: file(),
    owner: 'test',
    version: 2,
    tables: 'CREATE TABLE items (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT; CREATE INDEX bodies ON items (body);',
    survives: 'process',
    lockMs: 0,
    verify: (db) =>
      db
        .prepare('SELECT body FROM items')
        .all()
        .forEach((row) => JSON.parse(String(row['body']))),
    now: () => Date.UTC(2026, 10, 23),
    ...more,
  })
const add = (db: DatabaseSync, name: string): void => void db.prepare('INSERT INTO items VALUES (?, ?)').run(name, JSON.stringify({ name }))
const names = (db: DatabaseSync): string[] =>
  db
    .prepare('SELECT name FROM items ORDER BY name')
    .all()
    .map((row) => String(row['name']))
const fill = (): void => {
  const { db } = open()
  for (let n = 0; n < 100; n++) add(db, `item-${n}`)
  db.close()
}
const alter = (sql: string): void => {
  using db = new DatabaseSync(file())
  db.exec(sql)
}

describe('openState', () => {
  it('has again what was written, for one process at a time', () => {
    fill()
    using first = open().db
    expect(names(first)).toHaveLength(100)
    expect(open).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining('another test runs on it') }))
    expect(readdirSync(join(dir, 'deep'))).not.toContain(NAME)
  })

  it.each([
    ['garbage', () => writeFileSync(file(), 'x'.repeat(8192))],
    ['a file without content', () => truncateSync(file(), 0)],
    ['a truncated file', () => truncateSync(file(), 5000)],
    ['a page that was overwritten', () => writeFileSync(file(), readFileSync(file()).fill(0xa5, 4096, 8192))],
    ['a table of other columns', () => alter('ALTER TABLE items ADD COLUMN more TEXT')],
    ['an index that is missing', () => alter('DROP INDEX bodies')],
    ['tables without a version', () => alter('PRAGMA user_version = 0')],
    ['a row that is not what was written', () => alter(`UPDATE items SET body = '{' WHERE name = 'item-7'`)],
  ])('sets aside %s', (_what, damage) => {
    fill()
    damage()
    const before = readFileSync(file())
    let marked = false
    const { db, setAside } = open({ beforeSetAside: () => (marked = true) })
    using _db = db
    expect(marked).toBe(true)
    expect(setAside).toMatchObject({ file: file(), path: join(dir, 'deep', NAME), reason: expect.stringMatching(/./) })
    // SQLite writes a header into a file without content.
    expect(readFileSync(join(dir, 'deep', NAME)).equals(before)).toBe(before.length > 0)
    expect(names(db)).toEqual([])
    add(db, 'new')
    db.close()
    using again = open().db
    expect(names(again)).toEqual(['new'])
  })

  it('never writes over a file that was set aside before', () => {
    for (const text of ['first', 'second']) {
      writeFileSync((open().db.close(), file()), text.repeat(500))
      open().db.close()
    }
    expect(readdirSync(join(dir, 'deep')).filter((name) => name.includes('unreadable'))).toEqual([NAME, `${NAME}-2`])
  })

  it('leaves a file of a newer version alone', () => {
    fill()
    alter('PRAGMA user_version = 3')
    expect(open).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining('schema version 3') }))
    expect(readdirSync(join(dir, 'deep'))).toEqual(['state.db'])
  })

  it('opens, refuses with a defined error or sets aside whatever bits are flipped or bytes missing, and shows no row that is none', () => {
    fill()
    const whole = readFileSync(file())
    const verify = (db: DatabaseSync): void => {
      for (const { name, body } of db.prepare('SELECT name, body FROM items').all())
        if ((JSON.parse(String(body)) as { name: string }).name !== name) throw new Error(`row ${String(name)}`)
    }
    const place = fc.integer({ min: 0, max: whole.length - 1 })
    const flips = fc.array(fc.record({ at: place, bit: fc.integer({ min: 0, max: 7 }) }), { minLength: 0, maxLength: 8 })
    fc.assert(
      fc.property(flips, fc.option(place, { nil: whole.length }), (bits, length) => {
        rmSync(join(dir, 'deep'), { recursive: true, force: true })
        open().db.close()
        const damaged = Buffer.from(whole)
        for (const { at, bit } of bits) damaged[at]! ^= 1 << bit
        writeFileSync(file(), damaged.subarray(0, length))
        try {
          const { db, setAside } = open({ verify })
          using _db = db
          if (setAside !== undefined) return void expect(names(db)).toEqual([])
          for (const { name, body } of db.prepare('SELECT name, body FROM items').all()) expect(JSON.parse(String(body))).toEqual({ name })
        } catch (error) {
          expect(OffloadError.is(error) && error.code).toBe('JOURNAL_FAILURE')
        }
      }),
      { numRuns: 60 },
    )
  })

  it('says that the disk is full where it is, and keeps what was there', () => {
    fill()
    const { db } = open()
    db.exec('PRAGMA max_page_count = 1')
    expect(() => {
      for (let n = 0; n < 1000; n++) add(db, `more-${n}`)
    }).toThrow(/full/)
    db.close()
    using again = open().db
    expect(names(again)).toContain('item-42')
  })
})
