import type { DatabaseSync } from 'node:sqlite'

/**
 * Does a piece of work as one transaction, which has the file to itself: all of it is on the disk, or nothing.
 *
 * @throws whatever `work` or SQLite fails with; nothing is changed then
 */
export function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const value = work()
    db.exec('COMMIT')
    return value
  } catch (error) {
    // A full disk has ended the transaction already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}
