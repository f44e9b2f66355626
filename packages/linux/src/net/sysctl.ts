import { closeSync, constants as fsConstants, openSync, readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf, Refusal } from '../native/errno.ts'
import { NetFailure } from './failure.ts'
import type { NetSession } from './session.ts'

/**
 * File of a kernel variable: dots separate, `/` stands for a dot within an interface name.
 *
 * @throws Refusal EINVAL for names outside `net.` and for such that would leave their folder
 */
export function sysctlPath(key: string): string {
  const parts = key.split('.').map((part) => part.replaceAll('/', '.'))
  if (parts[0] !== 'net' || parts.length < 3 || parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    throw new Refusal(constants.errno.EINVAL, `${JSON.stringify(key)} is no kernel variable below "net."`)
  }
  return `/proc/sys/${parts.join('/')}`
}

const words = (text: string): string => text.trim().split(/\s+/).join(' ')

/** Whether a variable has a value already. One that cannot be read, such as a trigger, has none. */
function has(path: string, value: string): boolean {
  try {
    return words(readFileSync(path, 'utf8')) === words(value)
  } catch {
    return false
  }
}

/**
 * Gives a kernel variable of a namespace its value.
 *
 * It is only written when it has another one: some writes, `disable_ipv6` for one, do not wait for the kernel's lock but
 * spin for as long as somebody moves a link, many milliseconds of processor time for nothing.
 *
 * @throws NetFailure NOT_FOUND if the kernel has no such variable
 */
export function writeSysctl(session: NetSession, key: string, value: string): void {
  const path = sysctlPath(key)
  // Below /proc/sys/net the kernel shows each thread its own namespace, at open.
  session.inside(() => {
    if (has(path, value)) return
    let fd: number
    try {
      fd = openSync(path, fsConstants.O_WRONLY)
    } catch (error) {
      if (errnoOf(error) === constants.errno.ENOENT) throw new NetFailure('NOT_FOUND', `there is no kernel variable ${key} (ENOENT)`)
      throw error
    }
    try {
      writeSync(fd, value)
    } finally {
      closeSync(fd)
    }
  })
}
