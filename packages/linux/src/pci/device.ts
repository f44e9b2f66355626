import type { Machine } from '../machine/machine.ts'
import { comparePciAddresses, formatPciAddress, isPciAddress, parsePciAddress } from './address.ts'
import { hexOf, linkedName, namesIn, numberOf, textOf } from './attribute.ts'
import { DEVICES, deviceFile } from './paths.ts'

/** What a function is, whatever the machine made of it. */
export interface PciIds {
  /** Vendor, four hexadecimal digits, lower case. */
  readonly vendor: string
  /** Device, likewise. */
  readonly device: string
}

/** A virtual function and its number on its physical one. */
export interface VirtfnLink {
  /** Number, from 0. */
  readonly index: number
  /** PCI address. */
  readonly address: string
}

/** SR-IOV of a physical function, as its files say. */
export interface SriovState {
  /** VFs that its PCI header allows for; its driver may accept fewer. */
  readonly total: number
  /** VFs that are enabled. */
  readonly enabled: number
  /** Whether the kernel looks for drivers of new VFs by itself. */
  readonly autoprobe: boolean
}

/** A PCI function of a machine. */
export interface PciDevice extends PciIds {
  /** Address as the kernel writes it. */
  readonly address: string
  /** Subsystem's vendor, four hexadecimal digits. */
  readonly subsystemVendor: string
  /** Subsystem, four hexadecimal digits. */
  readonly subsystemDevice: string
  /** Class, six hexadecimal digits. What firmware claims it to be: no means to recognise a function. */
  readonly class: string
  /** Revision, 0–255. */
  readonly revision: number
  /** NUMA node, undefined where the machine does not know it. */
  readonly numaNode: number | undefined
  /** Driver that has it. */
  readonly driver: string | undefined
  /** The only driver that it may get, if somebody has said so. */
  readonly driverOverride: string | undefined
  /** Address of the physical function that it is a virtual one of. */
  readonly physfn: string | undefined
  /** Its virtual functions by their numbers; some may be missing while they come or go. */
  readonly virtfns: readonly VirtfnLink[]
  /** IOMMU group. Some functions have none before a driver has them. */
  readonly iommuGroup: number | undefined
  /**
   * Its network interfaces in the namespace of whoever looks. Empty: it has one, which lies in another namespace. Undefined: it has
   * none, as no driver of a network card has it.
   */
  readonly netdevs: readonly string[] | undefined
  /** SR-IOV, undefined for functions that are not capable of it. */
  readonly sriov: SriovState | undefined
}

/** The function at an address, undefined if there is none. @throws OffloadError INVALID_CONFIG, HARDWARE_FAILURE */
export async function readPciDevice(machine: Machine, address: string): Promise<PciDevice | undefined> {
  const file = (name: string): string => deviceFile(address, name)
  const ids = await readPciIds(machine, address)
  if (ids === undefined) return undefined
  const [subsystemVendor, subsystemDevice, classCode, revision, numaNode, driver, override, physfn, group, names, net, sriov] =
    await Promise.all([
      hexOf(machine, file('subsystem_vendor'), 4),
      hexOf(machine, file('subsystem_device'), 4),
      hexOf(machine, file('class'), 6),
      hexOf(machine, file('revision'), 2),
      numberOf(machine, file('numa_node')),
      linkedName(machine, file('driver')),
      textOf(machine, file('driver_override')),
      linkedName(machine, file('physfn')),
      linkedName(machine, file('iommu_group')),
      namesIn(machine, deviceFile(address)),
      namesIn(machine, file('net')),
      readSriov(machine, address),
    ])
  // One that went away while it was read would be described by half of its files.
  if (names === undefined || subsystemVendor === undefined || subsystemDevice === undefined) return undefined
  if (classCode === undefined || revision === undefined) return undefined
  return {
    ...ids,
    address: formatPciAddress(parsePciAddress(address)),
    subsystemVendor,
    subsystemDevice,
    class: classCode,
    revision: parseInt(revision, 16),
    // The kernel writes -1 where the firmware does not say.
    numaNode: numaNode === undefined || numaNode < 0 ? undefined : numaNode,
    driver,
    driverOverride: override === undefined || override === '' || override === '(null)' ? undefined : override,
    physfn,
    virtfns: await readVirtfns(machine, address, names),
    iommuGroup: group === undefined ? undefined : Number(group),
    netdevs: net?.toSorted(),
    sriov,
  }
}

/** Vendor and device of the function at an address, undefined if there is none. @throws OffloadError INVALID_CONFIG, HARDWARE_FAILURE */
export async function readPciIds(machine: Machine, address: string): Promise<PciIds | undefined> {
  const [vendor, device] = await Promise.all([
    hexOf(machine, deviceFile(address, 'vendor'), 4),
    hexOf(machine, deviceFile(address, 'device'), 4),
  ])
  return vendor === undefined || device === undefined ? undefined : { vendor, device }
}

/**
 * All functions of a machine by address, only the wanted ones if told which; none where it has no PCI. Functions that go away meanwhile
 * are left out.
 *
 * @throws OffloadError HARDWARE_FAILURE
 */
export async function pciDevices(machine: Machine, wanted: (ids: PciIds) => boolean = () => true): Promise<PciDevice[]> {
  const addresses = ((await namesIn(machine, DEVICES)) ?? []).filter(isPciAddress).toSorted(comparePciAddresses)
  const found = await Promise.all(
    addresses.map(async (address) => {
      const ids = await readPciIds(machine, address)
      return ids !== undefined && wanted(ids) ? await readPciDevice(machine, address) : undefined
    }),
  )
  return found.filter((device) => device !== undefined)
}

async function readSriov(machine: Machine, address: string): Promise<SriovState | undefined> {
  const [total, enabled, autoprobe] = await Promise.all([
    numberOf(machine, deviceFile(address, 'sriov_totalvfs')),
    numberOf(machine, deviceFile(address, 'sriov_numvfs')),
    numberOf(machine, deviceFile(address, 'sriov_drivers_autoprobe')),
  ])
  return total === undefined || enabled === undefined ? undefined : { total, enabled, autoprobe: autoprobe !== 0 }
}

async function readVirtfns(machine: Machine, address: string, names: readonly string[]): Promise<VirtfnLink[]> {
  const links = await Promise.all(
    names.map(async (name) => {
      const index = /^virtfn(\d+)$/.exec(name)?.[1]
      const vf = index === undefined ? undefined : await linkedName(machine, deviceFile(address, name))
      return vf === undefined ? undefined : { index: Number(index), address: vf }
    }),
  )
  return links.filter((link) => link !== undefined).toSorted((a, b) => a.index - b.index)
}
