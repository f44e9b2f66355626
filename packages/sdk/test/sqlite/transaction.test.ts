import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { inTransaction } from '../../src/sqlite/index.ts'

let db: DatabaseSync
beforeEach(() => {
  db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)')
})
afterEach(() => db.close())

const rows = (): number => Number(db.prepare('SELECT count(*) AS n FROM t').get()?.['n'])
const put = (n: number): void => void db.prepare('INSERT INTO t VALUES (?)').run(n)

it('keeps all and answers what the work does', () => {
  const done = inTransaction(db, () => {
    put(1)
    put(2)
    return 'done'
  })
  expect([done, rows(), db.isTransaction]).toEqual(['done', 2, false])
})

it('keeps nothing of work that fails, and can be used again', () => {
  const work = (): void => {
    put(1)
    put(1)
  }
  expect(() => inTransaction(db, work)).toThrow('UNIQUE')
  expect([rows(), db.isTransaction]).toEqual([0, false])
  inTransaction(db, () => put(1))
  expect(rows()).toBe(1)
})

it('tells of what had ended the transaction before', () => {
  const work = (): void => {
    db.exec('ROLLBACK')
    throw new Error('the disk is full')
  }
  expect(() => inTransaction(db, work)).toThrow('the disk is full')
})
