import { randomBytes } from 'node:crypto'

/**
 * A name that no other process and no other call has: prefix, process id, random part. With a prefix of at most 5
 * characters it is short enough for an interface name (15).
 */
export function uniqueName(prefix: string): string {
  return `${prefix}${process.pid.toString(36)}${randomBytes(3).toString('hex').slice(0, 5)}`
}
