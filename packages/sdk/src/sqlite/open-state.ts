import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '../errors/offload-error.ts'
import { guardState, isDamage, isInUse } from './failure.ts'
import { type SetAside, setAside } from './set-aside.ts'
import { inTransaction } from './transaction.ts'

/** What a state file has to be. */
export interface StateSpec {
  /** Path; its folder is made. */
  readonly file: string
  /** Whose it is, for messages: `host daemon`. */
  readonly owner: string
  /** Version of the tables, from 1, kept in `user_version`. */
  readonly version: number
  /** Statements that make the tables and indexes. */
  readonly tables: string
  /** What a commit is to survive: `process` the death of the process, `power` a power cut, too. */
  readonly survives: 'process' | 'power'
  /** How long another process that is just ending may take to let go of the file, milliseconds. */
  readonly lockMs?: number
  /** Reads every row; what it throws says that the file cannot be used. */
  readonly verify: (db: DatabaseSync) => void
  /** Called before a file that cannot be read is set aside, to leave a mark that outlives a crash. */
  readonly beforeSetAside?: () => void
  /** Present time, milliseconds since the epoch. */
  readonly now: () => number
}

/** A state file that is open. */
export interface OpenState {
  /** The connection. No other process gets one while it is open. */
  readonly db: DatabaseSync
  /** The former file, when it could not be read: the tables are empty then. */
  readonly setAside?: SetAside
}

/** The file is read, and is not what it should be. */
class Unreadable extends Error {
  override readonly name = 'Unreadable'
}

/**
 * Opens or makes a state file for one process. A file that is damaged, is no database or has other tables or rows than it
 * should is set aside, never deleted, and an empty one takes its place.
 *
 * A file of a newer version is left alone: it is whole, and the newer program, or the same one after an upgrade, needs it.
 *
 * @throws OffloadError JOURNAL_FAILURE when another process has it, it is of a newer version, or the disk does not let it be opened
 */
export function openState(spec: StateSpec): OpenState {
  return guardState(spec.file, 'open', 'Is the folder writable, and the disk in order?', () => {
    mkdirSync(dirname(spec.file), { recursive: true, mode: 0o700 })
    const existed = existsSync(spec.file)
    const opened = attempt(spec, existed)
    return 'db' in opened ? opened : { db: fresh(spec), setAside: opened }
  })
}

function fresh(spec: StateSpec): DatabaseSync {
  const opened = attempt(spec, false)
  if ('db' in opened) return opened.db
  throw new OffloadError('JOURNAL_FAILURE', `the new journal ${spec.file} cannot be read either: ${opened.reason}`)
}

function attempt(spec: StateSpec, existed: boolean): OpenState | SetAside {
  const db = new DatabaseSync(spec.file, { timeout: spec.lockMs ?? 2_000 })
  try {
    prepare(db, spec, existed)
    return { db }
  } catch (error) {
    try {
      if (isInUse(error)) throw inUse(spec, error)
      if (!isDamage(error) && !(error instanceof Unreadable)) throw error
      spec.beforeSetAside?.()
      // While it is open and locked: nobody else takes it meanwhile, and closing it deletes nothing that lies beside it.
      return setAside(spec.file, error instanceof Error ? error.message : String(error), spec.now())
    } finally {
      db.close()
    }
  }
}

function prepare(db: DatabaseSync, spec: StateSpec, existed: boolean): void {
  const synchronous = spec.survives === 'power' ? 'FULL' : 'NORMAL'
  // One process owns the state: a second one would take what the first is just doing for the remains of a crash.
  db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}; PRAGMA foreign_keys = ON;`)
  inTransaction(db, () => {
    if (existed) recognise(db, spec)
    else db.exec(`${spec.tables}; PRAGMA user_version = ${spec.version};`)
  })
}

function recognise(db: DatabaseSync, spec: StateSpec): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  if (version > spec.version)
    throw new OffloadError(
      'JOURNAL_FAILURE',
      `journal ${spec.file} has schema version ${version}, this ${spec.owner} knows up to ${spec.version}: it was written by a newer one`,
      { hint: `Run the newer ${spec.owner} again. The file is left as it is; to give it up, drain the node first, then move it away.` },
    )
  const [problem] = db.prepare('PRAGMA integrity_check(1)').all()
  if (problem?.['integrity_check'] !== 'ok') throw new Unreadable(String(problem?.['integrity_check']))
  using model = new DatabaseSync(':memory:')
  model.exec(spec.tables)
  if (version !== spec.version || tablesOf(db) !== tablesOf(model))
    throw new Unreadable(`its tables are not those of version ${spec.version}`)
  try {
    spec.verify(db)
  } catch (error) {
    if (isDamage(error)) throw error
    throw new Unreadable(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function tablesOf(db: DatabaseSync): string {
  return JSON.stringify(db.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name").all())
}

function inUse({ file, owner }: StateSpec, cause: unknown): OffloadError {
  return new OffloadError('JOURNAL_FAILURE', `stateDir = ${dirname(file)}: another ${owner} runs on it and holds ${file}`, {
    cause,
    hint: `Stop the other ${owner} first, or give this one a stateDir of its own.`,
  })
}
