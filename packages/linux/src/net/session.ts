import { closeSync, constants as fsConstants, openSync } from 'node:fs'
import { constants } from 'node:os'
import { errnoName, errnoOf } from '../native/errno.ts'
import { CLONE_NEWNET, type Libc } from '../native/libc.ts'
import { linkIndex } from '../netlink/link.ts'
import { NetlinkSocket } from '../netlink/socket.ts'
import { NetFailure } from './failure.ts'
import { type NetnsPath, OWN_NETNS } from './model.ts'

/** One namespace opened for one call: its descriptor, a netlink socket in it, and the indexes looked up so far. */
export interface NetSession extends Disposable {
  readonly path: NetnsPath
  /** Open descriptor of the namespace. */
  readonly netnsFd: number
  readonly socket: NetlinkSocket
  /** Index of a device. @throws NetFailure NOT_FOUND */
  index(dev: string): number
  /** Forgets indexes; to be called when names change. */
  forget(): void
  /** Runs something on this thread while it is in the namespace. It must be synchronous. */
  inside<T>(run: () => T): T
}

/** Opens the file of a network namespace. @throws NetFailure NOT_FOUND if there is none or it is something else */
export function openNetns(libc: Pick<Libc, 'namespaceType'>, path: NetnsPath): number {
  let fd: number
  try {
    // O_NONBLOCK: a path from outside may turn out to be a FIFO.
    fd = openSync(path, fsConstants.O_RDONLY | fsConstants.O_NONBLOCK)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === constants.errno.ENOENT || errno === constants.errno.ENOTDIR || errno === constants.errno.ESRCH) {
      throw new NetFailure('NOT_FOUND', `network namespace ${path} does not exist (${errnoName(errno)})`)
    }
    throw error
  }
  try {
    if (libc.namespaceType(fd) === CLONE_NEWNET) return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
  closeSync(fd)
  throw new NetFailure('NOT_FOUND', `${path} is no network namespace`)
}

/** Opens sessions for one thread, which must stay in its namespace between calls. */
export class SessionFactory implements Disposable {
  readonly #libc: Libc
  readonly #ownFd: number
  readonly #buffer = NetlinkSocket.receiveBuffer()
  #ownSocket: NetlinkSocket | undefined

  constructor(libc: Libc) {
    this.#libc = libc
    this.#ownFd = openSync('/proc/thread-self/ns/net', 'r')
  }

  /** @throws NetFailure NOT_FOUND if the path is no network namespace */
  open(path: NetnsPath): NetSession {
    if (path === OWN_NETNS)
      return this.#session(
        path,
        this.#ownFd,
        this.#own(),
        (run) => run(),
        () => undefined,
      )
    const fd = openNetns(this.#libc, path)
    try {
      const inside = <T>(run: () => T): T => this.#inside(fd, run)
      const socket = inside(() => this.socket())
      return this.#session(path, fd, socket, inside, () => {
        socket[Symbol.dispose]()
        closeSync(fd)
      })
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  /** Runs something after which this thread may be in another namespace, and brings the thread back. Must be synchronous. */
  returning<T>(run: () => T): T {
    try {
      return run()
    } finally {
      this.#comeBack()
    }
  }

  /** Opens a socket in the namespace in which the thread is right now. @throws Refusal */
  socket(): NetlinkSocket {
    return NetlinkSocket.open(this.#libc, this.#buffer)
  }

  /** Gives up the kept socket of the own namespace, which may have stale answers queued. */
  reset(): void {
    this.#ownSocket?.[Symbol.dispose]()
    this.#ownSocket = undefined
  }

  [Symbol.dispose](): void {
    this.reset()
    closeSync(this.#ownFd)
  }

  #own(): NetlinkSocket {
    this.#ownSocket ??= this.socket()
    return this.#ownSocket
  }

  #inside<T>(fd: number, run: () => T): T {
    this.#libc.setNetns(fd)
    return this.returning(run)
  }

  #comeBack(): void {
    try {
      this.#libc.setNetns(this.#ownFd)
    } catch {
      // Going on in a pod's namespace would apply the node's changes to the pod.
      process.abort()
    }
  }

  #session(path: NetnsPath, netnsFd: number, socket: NetlinkSocket, inside: NetSession['inside'], close: () => void): NetSession {
    const known = new Map<string, number>()
    return {
      path,
      netnsFd,
      socket,
      inside,
      index: (dev) => {
        const found = known.get(dev) ?? linkIndex(socket, dev)
        if (found === undefined) throw new NetFailure('NOT_FOUND', `there is no device ${dev} (ENODEV)`)
        known.set(dev, found)
        return found
      },
      forget: () => known.clear(),
      [Symbol.dispose]: close,
    }
  }
}
