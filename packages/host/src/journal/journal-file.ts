import { existsSync, rmSync, writeFileSync } from 'node:fs'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import { verifyAttachment } from './rows.ts'
import { ATTACHMENT, RESERVED, SCHEMA_VERSION, TABLES } from './schema.ts'

/** How long a daemon that is just ending may take to let go of the file, in milliseconds. */
const LOCK_MS = 1_000

/** The SQLite file of the journal, and the mark beside it that says that it is being rebuilt. */
export class JournalFile implements Disposable {
  /** Path. */
  readonly path: string
  /** The former file, when it could not be read: this one began empty. */
  readonly setAside: SetAside | undefined
  readonly #db: DatabaseSync
  readonly #mark: string
  readonly #transaction: { readonly begin: StatementSync; readonly commit: StatementSync; readonly rollback: StatementSync }

  /**
   * Opens or makes the file, with its folder (mode 0700). Nobody else can open it until it is closed.
   *
   * @throws OffloadError JOURNAL_FAILURE when another daemon has it, or it is no journal, damaged, or of a newer version
   */
  constructor(path: string, clock: Clock) {
    this.path = path
    this.#mark = `${path}.rebuilding`
    // A power cut may lose the last transactions; it also ends every pod, and another boot id then makes the daemon undo all that
    // the journal still has.
    const { db, setAside } = openState({
      file: path,
      owner: 'host daemon',
      version: SCHEMA_VERSION,
      tables: TABLES,
      survives: 'process',
      lockMs: LOCK_MS,
      verify,
      beforeSetAside: () => writeFileSync(this.#mark, ''),
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    try {
      this.guard('open', () => db.exec(RESERVED))
      this.#transaction = this.prepare({ begin: 'BEGIN IMMEDIATE', commit: 'COMMIT', rollback: 'ROLLBACK' })
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** Whether the former file could not be read and nothing has ended the rebuilding since; lasts over restarts. */
  get rebuilding(): boolean {
    return existsSync(this.#mark)
  }

  /** Ends {@link rebuilding}. */
  rebuilt(): void {
    this.guard('write', () => rmSync(this.#mark, { force: true }))
  }

  /** Prepares statements by name. */
  prepare<K extends string>(statements: Readonly<Record<K, string>>): Readonly<Record<K, StatementSync>> {
    return this.guard(
      'open',
      () =>
        Object.fromEntries(Object.entries<string>(statements).map(([name, sql]) => [name, this.#db.prepare(sql)])) as Record<
          K,
          StatementSync
        >,
    )
  }

  /** Runs one statement that changes rows. Returns how many. */
  write(statement: StatementSync, ...values: SQLInputValue[]): number {
    return this.guard('write', () => Number(statement.run(...values).changes))
  }

  /** Does all of a piece of work, or nothing if it throws. */
  transaction<T>(work: () => T): T {
    const { begin, commit, rollback } = this.#transaction
    return this.guard('write', () => {
      begin.run()
      try {
        const done = work()
        commit.run()
        return done
      } catch (error) {
        // A full disk has ended the transaction already.
        if (this.#db.isTransaction) rollback.run()
        throw error
      }
    })
  }

  /** Does a piece of work. @throws OffloadError JOURNAL_FAILURE naming the file for whatever SQLite fails with */
  guard<T>(what: 'open' | 'read' | 'write', work: () => T): T {
    return guardState(this.path, what, 'Is the disk in order?', work)
  }

  /** Closes the file. What is in it stays. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }
}

function verify(db: DatabaseSync): void {
  db.prepare(ATTACHMENT).all().forEach(verifyAttachment)
  const orphans = db.prepare(
    `SELECT count(*) AS n FROM attachments a LEFT JOIN vfs v USING (device, vf_index) WHERE v.state IS NOT 'leased'`,
  )
  if (Number(orphans.get()?.['n']) > 0) throw new OffloadError('JOURNAL_FAILURE', 'an attachment has a VF that is not leased')
}
