import { errnoOf, ifPresent, type Machine } from '@cni-offload/linux/machine'

/** A process, as far as one has to know it to tell it from others. */
export interface ProcessEntry {
  /** Its number, which another one may have after it. */
  readonly pid: number
  /** When it began, as the kernel counts: with the number it means one process and never another. */
  readonly started: string
  /** Name of its program, cut off after 15 characters. */
  readonly comm: string
  /** Its arguments; none of a process of the kernel, or of one that is ending. */
  readonly argv: readonly string[]
}

/** What reading of a process that ends meanwhile fails with. */
export const GONE: readonly string[] = ['ENOENT', 'ESRCH']

/** A process; undefined if there is none, or only its exit code is left of it. */
export async function readProcess(machine: Machine, pid: number): Promise<ProcessEntry | undefined> {
  const folder = `/proc/${pid}`
  const [stat, cmdline] = await Promise.all([
    ifPresent(machine.read(`${folder}/stat`), GONE),
    ifPresent(machine.read(`${folder}/cmdline`), GONE),
  ])
  if (stat === undefined || cmdline === undefined) return undefined
  // The name is in brackets, may have brackets and blanks itself, and everything after it has neither.
  const end = stat.lastIndexOf(')')
  const fields = stat.slice(end + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  const argv = cmdline.split('\0')
  if (argv.at(-1) === '') argv.pop()
  return { pid, started: fields[19] ?? '', comm: stat.slice(stat.indexOf('(') + 1, end), argv }
}

/**
 * The service of systemd that a process belongs to, by its control group; undefined of one that belongs to none, or cannot be known. What a
 * service has started stays with it, also when whoever started it is dead.
 */
export async function serviceOf(machine: Machine, pid: number | 'self'): Promise<string | undefined> {
  const groups = await ifPresent(machine.read(`/proc/${pid}/cgroup`), [...GONE, 'EACCES', 'EPERM'])
  return /\/([^/\n]+\.service)(?:\/|$)/m.exec(groups ?? '')?.[1]
}

/** All processes that share the network namespace of `pid`; those of which that cannot be known are left out. */
export async function processesBeside(machine: Machine, pid: number | 'self'): Promise<ProcessEntry[]> {
  const own = await machine.readlink(`/proc/${pid}/ns/net`)
  const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const beside = async (other: number): Promise<ProcessEntry[]> => {
    try {
      if ((await machine.readlink(`/proc/${other}/ns/net`)) !== own) return []
    } catch (error) {
      if ([...GONE, 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return []
      throw error
    }
    const entry = await readProcess(machine, other)
    return entry === undefined ? [] : [entry]
  }
  return (await Promise.all(pids.map(beside))).flat()
}
