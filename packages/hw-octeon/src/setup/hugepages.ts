import { OffloadError } from '@cni-offload/sdk'
import type { Machine } from '@cni-offload/linux/machine'
import type { FolderChange, HugepagesChange, MountChange } from './change.ts'
import { runCommand } from './command.ts'
import { planFolders } from './files.ts'
import type { ChangeKind } from './kind.ts'

/** Pages of the default size. */
const POOL = '/proc/sys/vm/nr_hugepages'

/** Where the set-up that the card's documentation describes mounts them. */
export const HUGEPAGES_FOLDER = '/dev/huge'

/** Memory that the control agent is documented to need, MiB. */
export const AGENT_MEMORY_MIB = 256

const pool = async (machine: Machine): Promise<number> => {
  const text = (await machine.read(POOL)).trim()
  if (/^\d+$/.test(text)) return Number(text)
  throw new OffloadError('HARDWARE_FAILURE', `${POOL} = ${JSON.stringify(text)}: a whole number is expected`)
}

/** Size of a huge page, KiB: from 2 MiB to 16 GiB, by architecture and size of ordinary pages. */
async function defaultPageKb(machine: Machine): Promise<number> {
  const size = /^Hugepagesize:\s+(\d+) kB$/m.exec(await machine.read('/proc/meminfo'))?.[1]
  if (size !== undefined && Number(size) > 0) return Number(size)
  throw new OffloadError('HARDWARE_FAILURE', '/proc/meminfo: no line Hugepagesize, this kernel has no huge pages', {
    hint: 'Use a kernel with CONFIG_HUGETLBFS.',
  })
}

/** The change that makes the pool large enough, none if it is. The pool is never made smaller. */
export async function planHugepages(machine: Machine, memoryMib: number): Promise<HugepagesChange[]> {
  const [before, pageKb] = [await pool(machine), await defaultPageKb(machine)]
  const after = Math.ceil((memoryMib * 1024) / pageKb)
  return before >= after ? [] : [{ kind: 'hugepages', before, after, pageKb }]
}

/** The changes that mount huge pages, none if they are mounted, wherever that is: a second mount would hide the first. */
export async function planHugepagesMount(machine: Machine): Promise<(FolderChange | MountChange)[]> {
  const mounts = (await machine.read('/proc/mounts')).split('\n').map((line) => line.split(' '))
  if (mounts.some(([, , type]) => type === 'hugetlbfs')) return []
  return [...(await planFolders(machine, HUGEPAGES_FOLDER)), { kind: 'mount', target: HUGEPAGES_FOLDER }]
}

const isMounted = async (machine: Machine, target: string): Promise<boolean> =>
  (await machine.read('/proc/mounts')).split('\n').some((line) => {
    const [, folder, type] = line.split(' ')
    return folder === target && type === 'hugetlbfs'
  })

const poolEdits = ({ before, after, pageKb }: HugepagesChange) => [
  { target: POOL, before: String(before), after: `${after} (pages of ${pageKb} kB)` },
]

/** Raising the pool of huge pages. */
export const hugepagesKind: ChangeKind<HugepagesChange> = {
  edits: poolEdits,
  undoEdits: ({ before, after }) => [{ target: POOL, before: String(after), after: String(before) }],
  async apply({ before, after, pageKb }, { machine }) {
    if ((await pool(machine)) >= after) return
    await machine.write(POOL, String(after))
    const got = await pool(machine)
    if (got >= after) return
    // Pages that are not enough for the agent would only be missing elsewhere.
    await machine.write(POOL, String(before))
    throw new OffloadError('HARDWARE_FAILURE', `${POOL} = ${after}: the kernel has found only ${got} pages of ${pageKb} kB in one piece`, {
      hint: `Free memory, or reserve them at boot: kernel parameter hugepages=${after}.`,
    })
  },
  async undo({ before, after }, { machine }) {
    const now = await pool(machine)
    if (now === before) return 'nothing'
    // In between lies what the kernel had found when the set-up was cut short.
    if (now < before || now > after) return { left: `${POOL} = ${now}: somebody has set it since` }
    await machine.write(POOL, String(before))
    return 'undone'
  },
}

/** Mounting huge pages. */
export const mountKind: ChangeKind<MountChange> = {
  edits: ({ target }) => [{ command: `mount -t hugetlbfs none ${target}` }],
  undoEdits: ({ target }) => [{ command: `umount ${target}` }],
  async apply({ target }, site) {
    if (await isMounted(site.machine, target)) return
    await runCommand(site, ['mount', '-t', 'hugetlbfs', 'none', target], 'Mounting needs the capability SYS_ADMIN.')
  },
  async undo({ target }, site) {
    if (!(await isMounted(site.machine, target))) return 'nothing'
    await runCommand(site, ['umount', target], `Stop what has files in it open (fuser -m ${target}).`)
    return 'undone'
  },
}
