import { OffloadError } from '@cni-offload/sdk'
import type { Machine } from '../machine/machine.ts'
import { linkedName, namesIn, textOf } from './attribute.ts'
import { bindDriver, driverOf, expectDriver, hasDriver, noFunction, notLoaded, probeDrivers, unbindDriver } from './driver.ts'
import { driverOverride, setDriverOverride } from './override.ts'
import { deviceFile, DRIVERS, DRIVERS_PROBE } from './paths.ts'
import { vfioUsers } from './vfio-users.ts'

/** The driver that hands a function to user space. */
export const VFIO_DRIVER = 'vfio-pci'

/** Drivers that leave the memory of a group alone, so that user space may have its other functions. */
const HARMLESS: ReadonlySet<string> = new Set([VFIO_DRIVER, 'pci-stub', 'pcieport', 'shpchp'])

/** How a function was before it went to user space; enough to bring it back there, also by another process. */
export interface DriverState {
  /** The driver that had it. */
  readonly driver: string | undefined
  /** The only driver that it could get. */
  readonly override: string | undefined
}

/** A function in the hands of user space. */
export interface VfioBinding {
  /** Address of the function. */
  readonly address: string
  /** IOMMU group. */
  readonly group: number
  /** What a program opens. */
  readonly node: string
  /** The machine has no IOMMU: the function reaches all memory. */
  readonly noIommu: boolean
  /** False if it was so before. */
  readonly changed: boolean
  /** How it was before. */
  readonly before: DriverState
  /** Brings back how it was before; nothing if nothing was changed. @throws OffloadError KERNEL_REFUSED, PERMISSION_DENIED, NOT_READY */
  undo(): Promise<void>
}

/**
 * Gives a function to vfio-pci, reads back that it is there, and that a program can open it: all functions of its group must be free
 * of other drivers, and the node must exist. If any of it fails, the function is brought back to its driver.
 *
 * @throws OffloadError NOT_FOUND (no such function), NOT_READY (vfio-pci not loaded, group not viable, no node), PERMISSION_DENIED,
 * KERNEL_REFUSED
 */
export async function bindVfio(machine: Machine, address: string): Promise<VfioBinding> {
  if ((await namesIn(machine, deviceFile(address))) === undefined) throw noFunction(address)
  const before = await driverState(machine, address)
  if (before.driver === VFIO_DRIVER) {
    const place = await vfioPlace(machine, address)
    return { address, ...place, changed: false, before, undo: async () => {} }
  }
  if (!(await hasDriver(machine, VFIO_DRIVER))) throw notLoaded(VFIO_DRIVER)
  const undo = async (): Promise<void> => await restoreDriver(machine, address, before)
  try {
    await setDriverOverride(machine, address, VFIO_DRIVER)
    await unbindDriver(machine, address)
    await probeDrivers(machine, address)
    // The probe succeeds also where nothing was bound.
    await expectDriver(machine, address, VFIO_DRIVER, DRIVERS_PROBE)
    return { address, ...(await vfioPlace(machine, address)), changed: true, before, undo }
  } catch (error) {
    await undo().catch(() => {})
    throw error
  }
}

/** Which driver has a function and may have it: what {@link restoreDriver} brings back. */
export async function driverState(machine: Machine, address: string): Promise<DriverState> {
  return { driver: await driverOf(machine, address), override: await driverOverride(machine, address) }
}

/**
 * Brings a function back to how it was. Idempotent, from wherever {@link bindVfio} has stopped.
 *
 * @throws OffloadError ALREADY_EXISTS while a program has it: the kernel would wait for the end of that program, for ever
 * @throws OffloadError NOT_READY if its driver is not loaded any more, KERNEL_REFUSED, PERMISSION_DENIED
 */
export async function restoreDriver(machine: Machine, address: string, before: DriverState): Promise<void> {
  const now = await driverOf(machine, address)
  if (now === VFIO_DRIVER && before.driver !== VFIO_DRIVER) await refuseWhileOpen(machine, address)
  await setDriverOverride(machine, address, before.override)
  if (now === before.driver) return
  if (before.driver === undefined) await unbindDriver(machine, address)
  else await bindDriver(machine, address, before.driver)
}

async function refuseWhileOpen(machine: Machine, address: string): Promise<void> {
  const group = await linkedName(machine, deviceFile(address, 'iommu_group'))
  const [user] = group === undefined ? [] : await vfioUsers(machine, Number(group))
  if (user === undefined) return
  throw new OffloadError('ALREADY_EXISTS', `${address}: process ${user.pid} (${user.name}) has its group ${group} open`, {
    hint: 'Stop it first. Nothing was touched.',
  })
}

/** Where a program opens a function that vfio-pci has. */
export type VfioPlace = Pick<VfioBinding, 'group' | 'node' | 'noIommu'>

/**
 * Where a program opens a function that vfio-pci has: all functions of its group must be free of other drivers, and the node must exist.
 * Changes nothing.
 *
 * @throws OffloadError NOT_READY
 */
export async function vfioPlace(machine: Machine, address: string): Promise<VfioPlace> {
  const file = deviceFile(address, 'iommu_group')
  const group = Number(await linkedName(machine, file))
  if (!Number.isInteger(group)) {
    throw new OffloadError('NOT_READY', `${file}: the function is in no IOMMU group, so that no program can open it`, {
      hint: 'Switch the IOMMU on (firmware, kernel parameter), or allow vfio without it: enable_unsafe_noiommu_mode=1 of module vfio.',
    })
  }
  await refuseUnviable(machine, address, group)
  const nodes = (await namesIn(machine, '/dev/vfio')) ?? []
  const noIommu = !nodes.includes(String(group)) && (await unsafeMode(machine))
  const name = noIommu ? `noiommu-${group}` : String(group)
  if (nodes.includes(name)) return { group, node: `/dev/vfio/${name}`, noIommu }
  throw new OffloadError('NOT_READY', `/dev/vfio/${name}: the function has vfio-pci, but its group has no node to open`, {
    hint: 'In a container, give it the /dev of the machine; else see whether module vfio is loaded and devtmpfs is mounted on /dev.',
  })
}

async function unsafeMode(machine: Machine): Promise<boolean> {
  return /^(Y|1)$/.test((await textOf(machine, '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode')) ?? 'N')
}

async function refuseUnviable(machine: Machine, address: string, group: number): Promise<void> {
  const folder = `/sys/kernel/iommu_groups/${group}/devices`
  const members = ((await namesIn(machine, folder)) ?? []).filter((member) => member !== address)
  const drivers = await Promise.all(members.map(async (member) => ({ member, driver: await driverOf(machine, member) })))
  const inTheWay = drivers.filter(({ driver }) => driver !== undefined && !HARMLESS.has(driver))
  if (inTheWay.length === 0) return
  const shown = inTheWay.map(({ member, driver }) => `${member} (${driver})`).join(', ')
  throw new OffloadError('NOT_READY', `${folder}: group ${group} of ${address} is not viable, kernel drivers have ${shown} of it`, {
    hint: `Bind these to ${VFIO_DRIVER}, too, or to none (${DRIVERS}/…/unbind).`,
  })
}
