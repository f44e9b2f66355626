import { type LinuxNet, type NetnsPath, normalizeCidr } from '@cni-offload/linux'
import { ifPresent, type Machine, pollUntil } from '@cni-offload/linux/machine'
import { hasDriver, type PciDevice, probeDrivers, readPciDevice, setVfCount, userspaceDriver } from '@cni-offload/linux/pci'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { PF_DRIVER, VF_DRIVER } from './drivers.ts'
import { hostFunction } from '../map/host-functions.ts'
import { vfMaximum } from '../map/vf-maximum.ts'
import { readInventory } from '../pci/inventory.ts'

/** The card's firmware answers a driver in tenths of a second; its drivers ask it once a second themselves. */
const LOOK_EVERY_MS = 100

/** The driver asks the firmware when its interface is opened, and waits two seconds for the answer. */
const CARRIER_WITHIN_MS = 3_000

/** With what a card is brought up. */
export interface BringUpDeps {
  /** Machine that the card is plugged into. */
  readonly machine: Machine
  /** Kernel access. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Namespace of the host. */
  readonly home: NetnsPath
}

/** What is wanted of a card. */
export interface BringUpOptions {
  /** PCI address of its physical function; may be omitted where there is only one. */
  readonly pf?: string | undefined
  /** How many VFs it is to have. @defaultValue those that it has, and where it has none, as many as it carries */
  readonly vfs?: number | undefined
  /** Address with prefix length of the physical function's interface. @defaultValue none is set */
  readonly managementAddress?: string | undefined
  /** Longest wait for its firmware, milliseconds. */
  readonly readyMs: number
}

/**
 * Brings the host's side of a card up: drivers loaded, firmware ready, its own interface up, which its link needs, and its virtual functions
 * there. What is so already is left as it is.
 *
 * @returns the physical function, with its virtual ones
 * @throws OffloadError HARDWARE_FAILURE (no card, refused), NOT_READY (its firmware, or its VFs), ALREADY_EXISTS (another number of VFs is
 * wanted while pods have some), INVALID_CONFIG, PERMISSION_DENIED, CANCELLED
 */
export async function bringUp(deps: BringUpDeps, options: BringUpOptions, signal: AbortSignal): Promise<PciDevice> {
  const { machine, clock } = deps
  const { address } = hostFunction(await readInventory(machine), options.pf)
  for (const driver of [PF_DRIVER, VF_DRIVER]) await load(deps, driver, signal)
  const pf = await ready(deps, address, options.readyMs, signal)
  const [netdev] = pf.netdevs ?? []
  if (netdev !== undefined) await openLink(deps, netdev, options.managementAddress, signal)
  const inUse = async (vf: { readonly address: string }): Promise<string | undefined> => {
    const device = await readPciDevice(machine, vf.address)
    if (device?.netdevs?.length === 0) return 'a pod'
    return userspaceDriver(device?.driver) === undefined ? undefined : 'a program'
  }
  const making = { clock, signal, inUse }
  const enabled = pf.sriov?.enabled ?? 0
  const count = options.vfs ?? (enabled > 0 ? enabled : (await vfMaximum(machine, pf, making)).count)
  // Those that are there are not waited for: one that is out of order must not keep all others from being used.
  if (enabled !== count) {
    await setVfCount(machine, address, count, making)
    await namesSettled(machine, signal)
    deps.log.info({ pf: address, vfs: count }, 'virtual functions were made')
  }
  return await existing(machine, address)
}

/** Interfaces get their names from udev after they have come; where there is none, they keep those that they came with. */
async function namesSettled(machine: Machine, signal: AbortSignal): Promise<void> {
  await ifPresent(machine.run(['udevadm', 'settle', '--timeout=10'], signal))
}

async function load({ machine, log }: BringUpDeps, driver: string, signal: AbortSignal): Promise<void> {
  if (await hasDriver(machine, driver)) return
  const { exitCode, stderr } = await machine.run(['modprobe', driver], signal).catch((error: unknown) => {
    throw OffloadError.from(error, 'HARDWARE_FAILURE', `modprobe ${driver}`)
  })
  if (exitCode === 0) return log.info({ driver }, 'driver was loaded')
  throw new OffloadError('HARDWARE_FAILURE', `driver ${driver} is not there, and modprobe cannot load it: ${stderr.trim()}`, {
    hint: 'It is in Linux from 6.9 on (CONFIG_OCTEON_EP, CONFIG_OCTEON_EP_VF); for older kernels Marvell has it as a package.',
  })
}

async function openLink(
  { net, home, clock, log }: BringUpDeps,
  dev: string,
  address: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const wanted =
    address === undefined || (await net.addresses(home, dev, { linkLocal: true })).includes(normalizeCidr(address)) ? undefined : address
  await net.apply(home, [
    ...(wanted === undefined ? [] : [{ op: 'addr.add', dev, address: wanted } as const]),
    { op: 'link.set', dev, up: true },
  ])
  const look = async (): Promise<true | undefined> => ((await net.link(home, dev))?.carrier === true ? true : undefined)
  const patience = { clock, signal, everyMs: LOOK_EVERY_MS, withinMs: CARRIER_WITHIN_MS }
  if ((await pollUntil(look, patience, `the carrier of ${dev}`)) === undefined) log.warn({ dev }, 'the physical function has no carrier')
}

async function ready({ machine, clock }: BringUpDeps, address: string, withinMs: number, signal: AbortSignal): Promise<PciDevice> {
  const look = async (): Promise<PciDevice | undefined> => {
    const pf = await existing(machine, address)
    if (pf.driver !== undefined && pf.driver !== PF_DRIVER)
      throw new OffloadError('HARDWARE_FAILURE', `${address} has the driver ${pf.driver}, not ${PF_DRIVER}`, {
        hint: `Give it back: unbind it from ${pf.driver} and clear its driver_override.`,
      })
    // The driver of Linux gives up while the firmware is not ready, and is asked again only when somebody wants it.
    if (pf.driver === undefined) await probed(machine, address)
    return pf.netdevs === undefined ? undefined : pf
  }
  const pf = await pollUntil(look, { clock, signal, everyMs: LOOK_EVERY_MS, withinMs }, `the firmware of ${address}`)
  if (pf !== undefined) return pf
  throw new OffloadError('NOT_READY', `${address}: the firmware of the card was not ready within ${withinMs} ms`, {
    hint: 'octep_cp_agent has to run on the DPU: `offload doctor` there says what is wrong with it.',
  })
}

/** Released kernels answer EINVAL where the driver gives up because the firmware is not ready. */
async function probed(machine: Machine, address: string): Promise<void> {
  await probeDrivers(machine, address).catch((error: unknown) => {
    if (!OffloadError.is(error) || error.code !== 'KERNEL_REFUSED') throw error
  })
}

async function existing(machine: Machine, address: string): Promise<PciDevice> {
  const pf = await readPciDevice(machine, address)
  if (pf !== undefined) return pf
  throw new OffloadError('HARDWARE_FAILURE', `the card at ${address} has gone`, {
    hint: 'It fell off the PCI bus: see dmesg; a rescan (/sys/bus/pci/rescan) or a reboot of this machine brings it back.',
  })
}
