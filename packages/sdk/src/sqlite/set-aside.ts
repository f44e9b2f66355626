import { existsSync, renameSync } from 'node:fs'
import type { Logger } from '../contracts/logger.ts'

/** A file that could not be read and lies under another name now. */
export interface SetAside {
  /** Path that it had. */
  readonly file: string
  /** Path that it has now; what SQLite had written beside it lies beside it still. */
  readonly path: string
  /** What is wrong with it. */
  readonly reason: string
}

// The write-ahead log first: left alone, it would be taken for one of the file that is made next.
const SUFFIXES = ['-wal', '-shm', ''] as const

/**
 * Gives a file that cannot be read, with what SQLite has written beside it, a name with the time. Nothing is deleted.
 *
 * @param now - milliseconds since the epoch
 */
export function setAside(file: string, reason: string, now: number): SetAside {
  const wanted = `${file}.unreadable-${new Date(now).toISOString().replaceAll(/[-:]/gu, '').replace(/\.\d+/u, '')}`
  let path = wanted
  for (let n = 2; SUFFIXES.some((suffix) => existsSync(`${path}${suffix}`)); n++) path = `${wanted}-${n}`
  for (const suffix of SUFFIXES) if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${path}${suffix}`)
  return { file, path, reason }
}

/**
 * Tells an operator about a file that was set aside, and counts it.
 *
 * @param counter - of the daemon's metrics; a plugin has none
 */
export function reportSetAside(aside: SetAside | undefined, log: Logger, counter?: { inc(): void }): void {
  if (aside === undefined) return
  counter?.inc()
  const hint = 'It is kept for whoever wants to look at it, and can be removed. What it held is rebuilt as far as possible.'
  log.error({ ...aside, hint }, 'journal cannot be read and is set aside')
}
