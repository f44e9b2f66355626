import { randomBytes } from 'node:crypto'

const CALL_WIDTH = 3
/** What a process can tell its calls apart by, which no other process has: its own count. */
let calls = 0

/**
 * A name that no other process and no other call has (of 46,656 calls of one process): prefix, process id, count, and a random part
 * against what an earlier process of the same id has left. With a prefix of at most 5 characters it is short enough for an
 * interface name (15).
 */
export function uniqueName(prefix: string): string {
  const call = (calls++ % 36 ** CALL_WIDTH).toString(36).padStart(CALL_WIDTH, '0')
  return `${prefix}${process.pid.toString(36)}${call}${randomBytes(1).toString('hex')}`
}
