import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { Refusal } from './errno.ts'

/** User and system time in milliseconds. */
export interface CpuTimes {
  /** Time in user mode, ms. */
  readonly userMs: number
  /** Time in the kernel, ms. */
  readonly systemMs: number
}

/** Who is at the other end of a connected unix socket, as the kernel recorded it at connect time. */
export interface PeerCredentials {
  /** Process id. */
  readonly pid: number
  /** Effective user id. */
  readonly uid: number
  /** Effective group id. */
  readonly gid: number
}

/**
 * The few system calls that Node does not offer. All are synchronous and act on the calling thread.
 *
 * @throws Refusal from every method, with errno
 */
export interface Libc {
  /** Moves the calling thread into the network namespace behind an open descriptor. */
  setNetns(fd: number): void
  /** Puts the calling thread into a new network namespace. */
  unshareNetns(): void
  /** Namespace type (CLONE_NEW…) of an open descriptor; undefined if it is no namespace. */
  namespaceType(fd: number): number | undefined
  /** Opens a socket, close-on-exec. */
  socket(family: number, type: number, protocol: number): number
  bind(fd: number, address: Buffer): void
  setsockopt(fd: number, level: number, option: number, value: Buffer): void
  mount(source: string, target: string, flags: number): void
  unmount(target: string, flags: number): void
  /** Waits for the exclusive lock of an open file; closing the descriptor gives it back. */
  lockFile(fd: number): void
  peerCredentials(fd: number): PeerCredentials
  /** CPU time of this process or of its waited-for children. */
  cpuTimes(of: 'self' | 'children'): CpuTimes
}

/** CLONE_NEWNET of sched.h. */
export const CLONE_NEWNET = 0x4000_0000

const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_PEERCRED = 17
const NS_GET_NSTYPE = 0xb703
const LOCK_EX = 2

/** Loads the bindings (about 10 ms on first use in a process). Symbols come from the running program, so any libc will do. */
export function loadLibc(): Libc {
  // A static import would load a native library into every process that only wants this package's types.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const program = koffi.load(null)
  const bind = (prototype: string): ((...args: unknown[]) => number) => program.func(prototype) as (...args: unknown[]) => number
  const setns = bind('int setns(int fd, int type)')
  const unshare = bind('int unshare(int flags)')
  const ioctl = bind('int ioctl(int fd, unsigned long request, ...)')
  const socket = bind('int socket(int family, int type, int protocol)')
  const bindSocket = bind('int bind(int fd, const void *address, uint32_t length)')
  const setsockopt = bind('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)')
  const getsockopt = bind('int getsockopt(int fd, int level, int option, void *value, void *length)')
  const mount = bind('int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)')
  const umount2 = bind('int umount2(const char *target, int flags)')
  const flock = bind('int flock(int fd, int operation)')
  const getrusage = bind('int getrusage(int who, void *usage)')

  const checked = (result: number, what: string): number => {
    if (result < 0) throw new Refusal(koffi.errno(), what)
    return result
  }

  return {
    setNetns: (fd) => void checked(setns(fd, CLONE_NEWNET), 'setns'),
    unshareNetns: () => void checked(unshare(CLONE_NEWNET), 'unshare'),
    namespaceType: (fd) => {
      const type = ioctl(fd, NS_GET_NSTYPE)
      if (type >= 0) return type
      return koffi.errno() === constants.errno.ENOTTY ? undefined : checked(type, 'ioctl NS_GET_NSTYPE')
    },
    socket: (family, type, protocol) => checked(socket(family, type | SOCK_CLOEXEC, protocol), 'socket'),
    bind: (fd, address) => void checked(bindSocket(fd, address, address.length), 'bind'),
    setsockopt: (fd, level, option, value) => void checked(setsockopt(fd, level, option, value, value.length), `setsockopt ${option}`),
    mount: (source, target, flags) => void checked(mount(source, target, 'none', flags, null), `mount on ${target}`),
    unmount: (target, flags) => void checked(umount2(target, flags), `unmount ${target}`),
    lockFile: (fd) => void checked(flock(fd, LOCK_EX), 'flock'),
    peerCredentials: (fd) => {
      const value = Buffer.alloc(12)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(value.length)
      checked(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length), 'getsockopt SO_PEERCRED')
      return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
    },
    cpuTimes: (of) => {
      const usage = Buffer.alloc(144)
      checked(getrusage(of === 'self' ? 0 : -1, usage), 'getrusage')
      const ms = (offset: number): number => Number(usage.readBigInt64LE(offset)) * 1000 + Number(usage.readBigInt64LE(offset + 8)) / 1000
      return { userMs: ms(0), systemMs: ms(16) }
    },
  }
}
