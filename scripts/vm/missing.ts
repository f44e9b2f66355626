import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What the virtual machine needs. */
export interface Needs {
  /** Folder that the packages were unpacked to. */
  readonly debian: string
  /** A busybox without libraries. */
  readonly busybox: string
  /** Memory of the machine, MiB. */
  readonly memoryMib: number
}

/** QEMU itself needs some, too. */
const MORE_MIB = 512

/** Memory that is free or can be made so, MiB, by the text of `/proc/meminfo`. */
export function availableMib(meminfo: string): number {
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) / 1024
}

/** Why the virtual machine cannot be run here, undefined if it can. */
export async function missing({ debian, busybox, memoryMib }: Needs): Promise<string | undefined> {
  if (process.arch !== 'x64') return `the virtual machine is one of x64, and this is ${process.arch}`
  if (!(await present(join(debian, 'usr/bin/qemu-system-x86_64'))))
    return 'QEMU 10 and a kernel of Debian could not be fetched (.cache/setup.log says why)'
  if (!(await present(busybox))) return `there is no ${busybox} (apt-get install busybox-static)`
  const available = availableMib(await readFile('/proc/meminfo', 'utf8'))
  const wanted = memoryMib + MORE_MIB
  return available < wanted ? `${Math.floor(available)} MiB of memory are free, and it takes ${wanted}` : undefined
}

const present = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
