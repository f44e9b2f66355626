import { closeSync, mkdirSync, openSync, unlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf, Refusal } from '../native/errno.ts'
import type { Libc } from '../native/libc.ts'
import { setLink } from '../netlink/link.ts'
import { NetFailure } from './failure.ts'
import type { NetnsPath } from './model.ts'
import { openNetns, type SessionFactory } from './session.ts'

/** Where `ip netns` looks. */
export const NETNS_FOLDER = '/run/netns'

const MS_BIND = 0x1000
const MS_REC = 0x4000
const MS_SHARED = 0x10_0000
const MNT_DETACH = 2
const LOOPBACK_INDEX = 1
const MAX_NAME_BYTES = 255

const pathOf = (name: string): NetnsPath => {
  if (!/^[^/\0]+$/.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new Refusal(constants.errno.EINVAL, `${JSON.stringify(name)} is no name of a network namespace`)
  }
  return `${NETNS_FOLDER}/${name}`
}

const shareFolder = (libc: Libc): void => libc.mount('', NETNS_FOLDER, MS_SHARED | MS_REC)

/** Makes mounts in the folder visible to every mount namespace that shares it, as `ip netns add` does, under the same lock. */
const prepareFolder = (libc: Libc): void => {
  mkdirSync(NETNS_FOLDER, { recursive: true, mode: 0o755 })
  // Two first ones at a time would mount the folder over what the other has made in it.
  const lock = openSync(NETNS_FOLDER, 'r')
  try {
    libc.lockFile(lock)
    shareFolder(libc)
  } catch (error) {
    // Only a mount point can be shared.
    if (errnoOf(error) !== constants.errno.EINVAL) throw error
    libc.mount(NETNS_FOLDER, NETNS_FOLDER, MS_BIND | MS_REC)
    shareFolder(libc)
  } finally {
    closeSync(lock)
  }
}

const exists = (libc: Libc, path: NetnsPath): boolean => {
  try {
    closeSync(openNetns(libc, path))
    return true
  } catch (error) {
    if (error instanceof NetFailure) return false
    throw error
  }
}

const createPinFile = (path: string): void => {
  try {
    closeSync(openSync(path, 'wx', 0o000))
  } catch (error) {
    // The remains of a namespace that was being made when its maker died.
    if (errnoOf(error) !== constants.errno.EEXIST) throw error
  }
}

/** Makes a named namespace with loopback up; an existing one is kept. @throws NetFailure, Refusal */
export function createNamedNetns(libc: Libc, sessions: SessionFactory, name: string): NetnsPath {
  const path = pathOf(name)
  if (exists(libc, path)) return path
  prepareFolder(libc)
  createPinFile(path)
  try {
    sessions.returning(() => {
      libc.unshareNetns()
      libc.mount('/proc/thread-self/ns/net', path, MS_BIND)
      using socket = sessions.socket()
      setLink(socket, LOOPBACK_INDEX, { up: true })
    })
  } catch (error) {
    deleteNamedNetns(libc, name)
    throw error
  }
  return path
}

/** Removes a named namespace; absent is success. @throws Refusal */
export function deleteNamedNetns(libc: Libc, name: string): void {
  const path = pathOf(name)
  try {
    libc.unmount(path, MNT_DETACH)
  } catch (error) {
    // EINVAL: a file, but nothing is mounted on it.
    const errno = errnoOf(error)
    if (errno === constants.errno.ENOENT) return
    if (errno !== constants.errno.EINVAL) throw error
  }
  try {
    unlinkSync(path)
  } catch (error) {
    if (errnoOf(error) !== constants.errno.ENOENT) throw error
  }
}
