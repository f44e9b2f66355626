import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import { formatNote, parseNote, searchEverywhere } from '@cni-offload/linux/function'
import type { Machine } from '@cni-offload/linux/machine'
import { readPciDevice } from '@cni-offload/linux/pci'
import type { PortRef, VfId } from '@cni-offload/sdk'

/** A function of the DPU, and the VF whose other end it is. */
export interface PortFunction {
  /** The VF. */
  readonly vf: VfId
  /** PCI address of the function on the DPU. */
  readonly address: string
}

/** With what names are found. */
export interface PortNamesDeps {
  /** The DPU. */
  readonly machine: Machine
  /** Kernel access. */
  readonly net: LinuxNet
  /** Namespace of the agent. */
  readonly home: NetnsPath
}

/**
 * The names that ports have in the agent's namespace. Sysfs tells it of those that lie there; they get a note, by which one that an adapter
 * has moved, and perhaps renamed, is found by another process.
 *
 * @returns a port for each function whose name is known
 * @throws OffloadError HARDWARE_FAILURE, KERNEL_REFUSED
 */
export async function portNames(deps: PortNamesDeps, functions: readonly PortFunction[]): Promise<readonly PortRef[]> {
  const { machine, net, home } = deps
  const [links, devices] = await Promise.all([
    net.links(home),
    Promise.all(functions.map(async (port) => ({ port, device: await readPciDevice(machine, port.address) }))),
  ])
  const atHome = devices.map(({ port, device }) => {
    const name = device?.netdevs?.[0]
    return { port, link: links.find((link) => link.name === name) }
  })
  for (const { port, link } of atHome) if (link !== undefined) await leaveNote(deps, port, link)
  const lacking = atHome.find(({ link }) => link === undefined)
  const away = lacking === undefined ? new Map<string, string>() : await notedNames(deps, lacking.port.vf.device)
  return atHome.flatMap(({ port, link }) => {
    const name = noted(link, port)?.name ?? link?.name ?? away.get(port.address)
    return name === undefined ? [] : [{ vf: port.vf, name }]
  })
}

/** One that lies at home has its own name, unless somebody was killed before it had given it back: its note is older then. */
async function leaveNote({ net, home }: PortNamesDeps, { vf, address }: PortFunction, link: Link): Promise<void> {
  if (noted(link, { vf, address }) !== undefined) return
  const alias = formatNote({ vf, end: 'port', pciAddress: address, name: link.name, mac: link.mac, mtu: link.mtu })
  await net.apply(home, [{ op: 'link.set', dev: link.name, alias }])
}

function noted(link: Link | undefined, { vf, address }: PortFunction): ReturnType<typeof parseNote> {
  const note = parseNote(link?.alias ?? '')
  const isIts = note?.end === 'port' && note.pciAddress === address && note.vf.device === vf.device && note.vf.index === vf.index
  return isIts ? note : undefined
}

async function notedNames({ net, home }: PortNamesDeps, device: string): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const { link } of await searchEverywhere(net, [home])) {
    const note = parseNote(link.alias)
    const address = link.parent?.bus === 'pci' ? link.parent.name : note?.pciAddress
    if (note?.end === 'port' && note.vf.device === device && address !== undefined) names.set(address, note.name)
  }
  return names
}
