import { OffloadError } from '../errors/offload-error.ts'

/** Primary result codes of SQLite that are told apart here. @see https://www.sqlite.org/rescode.html */
const SQLITE = { busy: 5, locked: 6, corrupt: 11, full: 13, notDatabase: 26 } as const

const FULL_HINT = 'The disk is full: free some space below the stateDir. Nothing was changed; the call can be repeated.'

/** Result code of an error of node:sqlite without the bits that only say how; undefined if it is none. */
function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

/** Whether another connection has the file. */
export function isInUse(error: unknown): boolean {
  const code = codeOf(error)
  return code === SQLITE.busy || code === SQLITE.locked
}

/** Whether the error says that the file is no database or a damaged one, unlike one that is in use or on a full disk. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  return code === SQLITE.corrupt || code === SQLITE.notDatabase
}

/**
 * Does a piece of work on a file.
 *
 * @param what - `open`, `read`, `write`, for the message
 * @param hint - what helps unless the disk is full
 * @throws OffloadError JOURNAL_FAILURE for whatever SQLite fails with; errors that are OffloadErrors pass
 */
export function guardState<T>(file: string, what: string, hint: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (OffloadError.is(error)) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new OffloadError('JOURNAL_FAILURE', `cannot ${what} the journal ${file}: ${why}`, {
      cause: error,
      hint: codeOf(error) === SQLITE.full ? FULL_HINT : hint,
    })
  }
}
