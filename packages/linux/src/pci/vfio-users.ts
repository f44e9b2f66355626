import { ifPresent, type Machine } from '../machine/machine.ts'

/** A process that has a group of functions open. */
export interface VfioUser {
  /** Its id. */
  readonly pid: number
  /** Its name, as the kernel shortens it. */
  readonly name: string
}

/** Processes come and go, and other users' may not be looked at. */
const UNSEEN = ['ENOENT', 'ESRCH', 'EACCES', 'EPERM']

/** Processes that have an IOMMU group open, as far as the caller may see them. */
export async function vfioUsers(machine: Machine, group: number): Promise<VfioUser[]> {
  const nodes = [`/dev/vfio/${group}`, `/dev/vfio/noiommu-${group}`]
  const pids = ((await ifPresent(machine.list('/proc'))) ?? []).filter((name) => /^\d+$/.test(name)).map(Number)
  const users: VfioUser[] = []
  for (const pid of pids) {
    const open = (await ifPresent(machine.list(`/proc/${pid}/fd`), UNSEEN)) ?? []
    const files = await Promise.all(open.map((fd) => ifPresent(machine.readlink(`/proc/${pid}/fd/${fd}`), UNSEEN)))
    if (!files.some((file) => file !== undefined && nodes.includes(file))) continue
    users.push({ pid, name: ((await ifPresent(machine.read(`/proc/${pid}/comm`), UNSEEN)) ?? '?').trimEnd() })
  }
  return users
}
