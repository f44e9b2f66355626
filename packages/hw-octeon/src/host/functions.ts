import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import { formatNote, type FunctionEnd, isEnd, parseNote } from '@cni-offload/linux/function'
import type { Machine } from '@cni-offload/linux/machine'
import { driverOf, type PciDevice, readPciDevice, userspaceDriver } from '@cni-offload/linux/pci'
import { OffloadError, UNKNOWN_MAC, type VfId } from '@cni-offload/sdk'
import { VF_DRIVER, VF_MAX_MTU } from './drivers.ts'
import type { FunctionBook, Pristine } from './function-book.ts'

/** A virtual function as it is now. */
export interface FunctionState {
  /** Identity. */
  readonly vf: VfId
  /** PCI address. */
  readonly address: string
  /** NUMA node, where the machine knows it. */
  readonly numaNode: number | undefined
  /** Its interface in its pristine state; undefined if nobody has seen it in that yet. */
  readonly end: FunctionEnd | undefined
  /** Name of its interface in the host's namespace; undefined while that is elsewhere, or if it has none. */
  readonly netdev: string | undefined
  /** Largest MTU that it carries, in bytes. */
  readonly maxMtu: number
  /** Whether somebody has it: its interface lies in another namespace, or another driver has the function. */
  readonly away: boolean
  /** Driver that leaves it to a program, if it has such a one. */
  readonly userspace: string | undefined
  /** Why it must not be leased; undefined if it may. */
  readonly trouble: string | undefined
}

/** Of a function that nobody has seen with its own driver. */
const NO_INTERFACE = { name: '', mac: UNKNOWN_MAC, mtu: VF_MAX_MTU } as const

/** With what functions are looked at. */
export interface FunctionsDeps {
  /** Machine that the card is plugged into. */
  readonly machine: Machine
  /** Kernel access. */
  readonly net: LinuxNet
  /** How they were. */
  readonly book: FunctionBook
  /** Name of the card. */
  readonly device: string
  /** Namespace of the host. */
  readonly home: NetnsPath
}

/** The virtual functions of a card, and what their interfaces were like before anybody changed them. */
export class Functions {
  readonly #deps: FunctionsDeps

  /** Nothing is looked at yet. */
  constructor(deps: FunctionsDeps) {
    this.#deps = deps
  }

  /**
   * All functions of a physical one. An interface that nobody has changed yet is entered in the book, and gets its note.
   *
   * @throws OffloadError HARDWARE_FAILURE, IO_FAILURE, KERNEL_REFUSED
   */
  async survey(pf: PciDevice): Promise<readonly FunctionState[]> {
    const { machine, net, home } = this.#deps
    const [links, devices] = await Promise.all([
      net.links(home),
      Promise.all(pf.virtfns.map(async ({ index, address }) => ({ index, address, device: await readPciDevice(machine, address) }))),
    ])
    const seen = devices.map(({ index, address, device }) => {
      const netdev = device?.netdevs?.[0]
      // Between the two looks udev may have given the name to another one.
      const isIts = ({ name, parent }: Link): boolean => name === netdev && (parent === undefined || parent.name === address)
      return { index, address, device, link: links.find(isIts) }
    })
    await this.#learn(seen)
    return seen.map(({ index, address, device, link }) => {
      const end = this.#end(index, address)
      return {
        vf: this.#id(index),
        address,
        numaNode: device?.numaNode,
        end,
        netdev: link?.name,
        maxMtu: Math.min(link?.maxMtu ?? VF_MAX_MTU, VF_MAX_MTU),
        away: device?.netdevs?.length === 0 || ![undefined, VF_DRIVER].includes(device?.driver),
        userspace: userspaceDriver(device?.driver),
        trouble: troubleOf(device, end, links, link),
      }
    })
  }

  /**
   * One function's interface in its pristine state.
   *
   * @throws OffloadError HARDWARE_FAILURE if the card has no such function, or nobody knows how it was
   */
  async end(pf: PciDevice, vf: VfId): Promise<FunctionEnd> {
    const { device } = this.#deps
    const link = vf.device === device ? pf.virtfns.find(({ index }) => index === vf.index) : undefined
    if (link === undefined)
      throw new OffloadError('HARDWARE_FAILURE', `the card "${device}" at ${pf.address} has no function "${vf.device}/${vf.index}"`, {
        hint: `It has ${pf.virtfns.length} of them. Compare the options device and vfs of the host and of the agent.`,
      })
    const known = this.#end(link.index, link.address)
    if (known !== undefined) return known
    await this.survey(pf)
    const learnt = this.#end(link.index, link.address)
    if (learnt !== undefined) return learnt
    // It has no interface to be brought back, and is known by its address.
    if (await this.isForPrograms(link.address)) return { vf: this.#id(link.index), end: 'vf', pciAddress: link.address, ...NO_INTERFACE }
    throw new OffloadError('HARDWARE_FAILURE', `function ${vf.device}/${vf.index} (${link.address}): nobody knows how its interface was`, {
      hint: `It has never been seen on the host. Unbind it from its driver and bind it to ${VF_DRIVER}, then it has a new one.`,
    })
  }

  /** Whether a function has a driver that leaves it to a program. */
  async isForPrograms(address: string): Promise<boolean> {
    return userspaceDriver(await driverOf(this.#deps.machine, address)) !== undefined
  }

  async #learn(seen: readonly { readonly index: number; readonly address: string; readonly link: Link | undefined }[]): Promise<void> {
    const { book, net, home } = this.#deps
    const present = seen.flatMap(({ link, ...rest }) => (link === undefined ? [] : [{ ...rest, link }]))
    await book.note(
      present.flatMap(({ address, link }) => (book.get(address) === undefined ? [[address, asItWas(address, link)] as const] : [])),
    )
    const ops = present.flatMap(({ index, address, link }) => {
      const end = this.#end(index, address)
      const alias = end === undefined ? link.alias : formatNote(end)
      return alias === link.alias ? [] : [{ op: 'link.set', dev: link.name, alias } as const]
    })
    if (ops.length > 0) await net.apply(home, ops)
  }

  #end(index: number, pciAddress: string): FunctionEnd | undefined {
    const pristine = this.#deps.book.get(pciAddress)
    return pristine === undefined ? undefined : { vf: this.#id(index), end: 'vf', pciAddress, ...pristine }
  }

  #id(index: number): VfId {
    return { device: this.#deps.device, index }
  }
}

/** A note is there where the book was lost: then the interface may have been in a pod since. */
function asItWas(address: string, { alias, name, mac, mtu }: Link): Pristine {
  const note = parseNote(alias)
  return note?.pciAddress === address ? { name: note.name, mac: note.mac, mtu: note.mtu } : { name, mac, mtu }
}

function troubleOf(
  device: PciDevice | undefined,
  end: FunctionEnd | undefined,
  links: readonly Link[],
  own: Link | undefined,
): string | undefined {
  if (device === undefined) return 'it is not on the PCI bus'
  // Nobody needs to have seen its interface: it has none, and is none when it is given away.
  if (userspaceDriver(device.driver) !== undefined) return undefined
  if (device.driver !== VF_DRIVER)
    return device.driver === undefined ? 'it has no driver' : `it has the driver ${device.driver}, not ${VF_DRIVER}`
  if (device.netdevs === undefined) return `its driver ${VF_DRIVER} has made no interface for it`
  if (end === undefined) return 'nobody has seen its interface on the host yet'
  const taken = links.find((link) => link.name === end.name || link.altNames.includes(end.name))
  return taken === undefined || taken === own || isEnd(taken, end) ? undefined : `its name ${end.name} is taken by another link`
}
