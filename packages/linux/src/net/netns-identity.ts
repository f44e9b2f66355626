import { closeSync, fstatSync } from 'node:fs'
import type { Libc } from '../native/libc.ts'
import { NetFailure } from './failure.ts'
import { type NetnsPath, OWN_NETNS } from './model.ts'
import { openNetns } from './session.ts'

/** Device and inode of a namespace as one text; undefined if the path is no network namespace. */
export function netnsIdentity(libc: Pick<Libc, 'namespaceType'>, netns: NetnsPath): string | undefined {
  let fd: number
  try {
    fd = openNetns(libc, netns === OWN_NETNS ? '/proc/thread-self/ns/net' : netns)
  } catch (error) {
    if (error instanceof NetFailure && error.code === 'NOT_FOUND') return undefined
    throw error
  }
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true })
    return `${dev}:${ino}`
  } finally {
    closeSync(fd)
  }
}
