import { type Clock, OffloadError } from '@cni-offload/sdk'
import type { Machine } from '../machine/machine.ts'
import { pollUntil } from '../machine/poll.ts'
import { type PciDevice, readPciDevice, type VirtfnLink } from './device.ts'
import { noFunction } from './driver.ts'
import { deviceFile } from './paths.ts'
import { vfCountRefused } from './vf-count-refused.ts'

/** Links and drivers of VFs come within milliseconds each; one look reads some files per VF. */
const LOOK_EVERY_MS = 50

/** A driver asks the card about each of its VFs, which takes up to a second each where the card is slow to answer. */
const VFS_WITHIN_MS = 60_000

/** With what the number of VFs is changed. */
export interface VfCountOptions {
  /** Ends the wait; VFs that have been made stay. */
  readonly signal: AbortSignal
  /** Time. */
  readonly clock: Clock
  /**
   * Says what a VF is used for, undefined if for nothing. Asked of all VFs before any of them goes: the kernel cannot change the number
   * without removing them all.
   */
  readonly inUse: (vf: VirtfnLink) => Promise<string | undefined>
  /** Whether nothing more is to come of a VF. @defaultValue {@link isSettledVf} */
  readonly isSettled?: (vf: PciDevice, pf: PciDevice) => boolean
  /** Longest wait for the VFs, milliseconds. @defaultValue 60 000 */
  readonly withinMs?: number
}

/** Result of {@link setVfCount}. */
export interface VfCount {
  /** The VFs by number. */
  readonly vfs: readonly PciDevice[]
  /** False if there were that many before. */
  readonly changed: boolean
}

/**
 * Whether nothing more is to come of a VF: its driver has made a network interface, be it in another namespace by now, in which case its
 * folder `net` is empty; or it has been given to another driver on purpose, or drivers are not looked for.
 */
export function isSettledVf(vf: PciDevice, pf: PciDevice): boolean {
  if (vf.driver === undefined) return pf.sriov?.autoprobe === false
  return vf.netdevs !== undefined || vf.driverOverride === vf.driver
}

/**
 * Sets the number of VFs of a physical function and waits until all are there with their drivers. Where there are that many already,
 * nothing is written; else all that exist are removed first, which is refused while any is in use.
 *
 * @throws OffloadError NOT_FOUND (no such function), ALREADY_EXISTS (a VF is in use, nothing was touched), INVALID_CONFIG (more than the
 * function or its driver has), NOT_READY (its driver is not ready, or VFs did not come in time), HARDWARE_FAILURE, PERMISSION_DENIED,
 * KERNEL_REFUSED, CANCELLED
 */
export async function setVfCount(machine: Machine, pf: string, count: number, options: VfCountOptions): Promise<VfCount> {
  const before = await readPciDevice(machine, pf)
  if (before === undefined) throw noFunction(pf)
  const { sriov, virtfns } = before
  const file = deviceFile(pf, 'sriov_numvfs')
  if (sriov === undefined) throw vfCountRefused('ENOSRIOV', file, count, before)
  if (!Number.isInteger(count) || count < 0 || count > sriov.total) throw vfCountRefused('ERANGE', file, count, before)
  const changed = sriov.enabled !== count
  if (changed) {
    await refuseInUse(pf, count, virtfns, options)
    if (sriov.enabled !== 0) {
      await tell(machine, before, file, 0)
      await settled(machine, pf, 0, options)
    }
    if (count !== 0) await enable(machine, before, file, count)
  }
  return { vfs: await settled(machine, pf, count, options), changed }
}

async function refuseInUse(pf: string, count: number, virtfns: readonly VirtfnLink[], { inUse }: VfCountOptions): Promise<void> {
  const uses = await Promise.all(virtfns.map(async (vf) => ({ ...vf, use: await inUse(vf) })))
  const [first, ...others] = uses.filter(({ use }) => use !== undefined)
  if (first === undefined) return
  const more = others.length === 0 ? '' : `, and ${others.length} more`
  throw new OffloadError(
    'ALREADY_EXISTS',
    `${pf}: ${count} VFs instead of ${virtfns.length}: VF ${first.index} (${first.address}) is in use by ${first.use}${more}`,
    {
      hint: 'The kernel removes all VFs to change their number: take them out of use first (drain the node). Nothing was touched.',
    },
  )
}

async function tell(machine: Machine, pf: PciDevice, file: string, count: number): Promise<void> {
  try {
    await machine.write(file, String(count))
  } catch (error) {
    throw vfCountRefused(error, file, count, pf)
  }
}

async function enable(machine: Machine, before: PciDevice, file: string, count: number): Promise<void> {
  try {
    await tell(machine, before, file, count)
  } catch (error) {
    // The VFs of before had to go first; whoever relies on them is better off with them.
    const back = before.sriov?.enabled ?? 0
    if (back !== 0) await tell(machine, before, file, back).catch(() => {})
    throw error
  }
  const enabled = (await readPciDevice(machine, before.address))?.sriov?.enabled ?? 0
  if (enabled !== count) throw vfCountRefused('FEWER', file, count, before, enabled)
}

async function settled(machine: Machine, pf: string, count: number, options: VfCountOptions): Promise<PciDevice[]> {
  const { clock, signal, isSettled = isSettledVf, withinMs = VFS_WITHIN_MS } = options
  let lacking = ''
  const look = async (): Promise<PciDevice[] | undefined> => {
    const now = await readPciDevice(machine, pf)
    if (now === undefined) throw noFunction(pf)
    if (now.virtfns.length !== count) {
      lacking = `${now.virtfns.length} of its VFs are there`
      return undefined
    }
    const vfs = (await Promise.all(now.virtfns.map(({ address }) => readPciDevice(machine, address)))).filter((vf) => vf !== undefined)
    const late = vfs.filter((vf) => !isSettled(vf, now))
    lacking = late
      .map(({ address, driver }) => `${address} has ${driver === undefined ? 'no driver' : `${driver}, but no interface`}`)
      .join(', ')
    return vfs.length === count && late.length === 0 ? vfs : undefined
  }
  const patience = { clock, signal, everyMs: LOOK_EVERY_MS, withinMs }
  const vfs = await pollUntil(look, patience, `${count} VFs of ${pf}`)
  if (vfs !== undefined) return vfs
  throw new OffloadError('NOT_READY', `${pf}: ${count} VFs are wanted, but after ${withinMs} ms ${lacking}`, {
    hint: 'See whether the driver of the VFs is loaded, and what the kernel log (dmesg) says of them.',
  })
}
