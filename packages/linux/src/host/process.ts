import { readdir, readFile } from 'node:fs/promises'
import { OffloadError } from '@cni-offload/sdk'
import { type CpuTimes, type Libc, loadLibc, type PeerCredentials } from '../native/libc.ts'

// Bindings are immutable code like any import; they are merely loaded when first needed.
let bindings: Libc | undefined
const libc = (): Libc => (bindings ??= loadLibc())

/**
 * Who connected a unix socket, as the kernel recorded it at connect time: the peer cannot forge it. The first call loads
 * the bindings (about 10 ms), later ones take microseconds.
 *
 * @param fd - descriptor of a connected unix socket
 * @throws OffloadError IO_FAILURE if it is none
 */
export function peerCredentials(fd: number): PeerCredentials {
  try {
    return libc().peerCredentials(fd)
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `peer credentials of descriptor ${fd}`)
  }
}

/** CPU time of this process or of all its children that were waited for (and theirs), in milliseconds. */
export function getrusage(of: 'self' | 'children'): CpuTimes {
  return libc().cpuTimes(of)
}

/** User and system time together of all children that were waited for (and theirs), in milliseconds. */
export function childrenCpuMs(): number {
  const { userMs, systemMs } = getrusage('children')
  return userMs + systemMs
}

const threadMs = async (path: string): Promise<number> => {
  try {
    return Number((await readFile(path, 'utf8')).split(' ')[0]) / 1e6
  } catch (error) {
    // A thread that ended between readdir and here.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return 0
    throw error
  }
}

/**
 * CPU time of the living threads of a process in milliseconds, to the nanosecond; those that ended are not counted.
 *
 * @throws OffloadError NOT_FOUND if there is no such process
 */
export async function processCpuMs(pid: number): Promise<number> {
  const folder = `/proc/${pid}/task`
  let threads: string[]
  try {
    threads = await readdir(folder)
  } catch (error) {
    throw OffloadError.from(error, 'NOT_FOUND', `process ${pid}`)
  }
  const times = await Promise.all(threads.map((thread) => threadMs(`${folder}/${thread}/schedstat`)))
  return times.reduce((sum, ms) => sum + ms, 0)
}
