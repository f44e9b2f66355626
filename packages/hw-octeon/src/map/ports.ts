import { OffloadError } from '@cni-offload/sdk'
import { comparePciAddresses, formatPciAddress, parsePciAddress, type PciDevice } from '@cni-offload/linux/pci'
import { functionsOf, type OcteonFunctions, SDP_PORT } from '../pci/functions.ts'

/** Which function of the DPU is the other end of which function of the host. */
export interface SdpPorts {
  /** The other end of the host's physical function. */
  readonly management: string
  /** The other ends of its virtual functions: that of VF n at n. */
  readonly vfs: readonly string[]
  /** What it is known from: numbers of the functions on their parent, their order, or the configured table. */
  readonly source: 'virtfn' | 'order' | 'table'
}

/** A configured map, for cards whose firmware has more than one physical function. */
export interface PortTable {
  /** Address of the DPU's function that is the other end of the host's physical function. */
  readonly management: string
  /** Addresses of those of its VFs, that of VF n at n. */
  readonly vfs: readonly string[]
}

/**
 * The ports of a DPU. Function 0 of the SDP's parent is the other end of the host's physical function, function n+1 that of VF n. The
 * order is that of the numbers, never that of names; functions keep their place also where they have no driver or no interface.
 *
 * @param inventory - of the DPU
 * @param table - the map, where it cannot be known
 * @throws OffloadError HARDWARE_FAILURE (no functions, or of more than one physical function and no table), NOT_READY (some of them are
 * on their way), INVALID_CONFIG (a table with addresses that are none, occur twice, or are no ports)
 */
export function sdpPorts(inventory: Pick<OcteonFunctions, 'functions'>, table?: PortTable): SdpPorts {
  const ports = functionsOf(inventory, SDP_PORT)
  if (table !== undefined) return tablePorts(ports, table)
  const [first, ...others] = ports
  if (first === undefined) {
    throw new OffloadError('HARDWARE_FAILURE', `there is no function 177d:${SDP_PORT}: the host's functions have no other ends here`, {
      hint: 'Is this the DPU? Set the number of SDP functions in the firmware menu of the card, and load rvu_af or octeontx2-sdp.',
    })
  }
  const stray = others.find(({ physfn }) => physfn !== first.physfn)
  if (stray !== undefined) {
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `ports of more than one physical function: ${first.address} of ${first.physfn ?? 'none'}, ${stray.address} of ${stray.physfn ?? 'none'}`,
      { hint: 'Which of them belongs to which VF is documented for one only: give the map (option ports: management, vfs).' },
    )
  }
  const parent = inventory.functions.find(({ pci }) => pci.address === first.physfn)?.pci
  const { list, source } = parent === undefined || parent.virtfns.length === 0 ? byOrder(ports) : byNumber(ports, parent)
  const [management, ...vfs] = list
  return { management: management ?? first.address, vfs, source }
}

/** The port of a VF. @throws OffloadError HARDWARE_FAILURE when it has none */
export function portOfVf({ vfs }: SdpPorts, index: number): string {
  const port = vfs[index]
  if (port !== undefined) return port
  throw new OffloadError('HARDWARE_FAILURE', `VF ${index}: the DPU has ports for VFs 0 to ${vfs.length - 1}`, {
    hint: 'The number of SDP functions is set in the firmware menu of the card: one more than VFs. Make no more VFs on the host.',
  })
}

type Ordered = { readonly list: readonly string[]; readonly source: SdpPorts['source'] }

const byOrder = (ports: readonly PciDevice[]): Ordered => ({
  list: ports.map(({ address }) => address).toSorted(comparePciAddresses),
  source: 'order',
})

function byNumber(ports: readonly PciDevice[], parent: PciDevice): Ordered {
  const known = new Set(ports.map(({ address }) => address))
  const list = parent.virtfns.map(({ address }) => address)
  const gap = parent.virtfns.find(({ index, address }, at) => index !== at || !known.has(address))
  if (gap !== undefined || list.length !== ports.length) {
    const seen = gap === undefined ? `${list.length} of ${ports.length} functions are numbered` : `virtfn${gap.index} is ${gap.address}`
    throw new OffloadError('NOT_READY', `${parent.address}: its virtual functions are not the ports 0 to ${ports.length - 1}: ${seen}`, {
      hint: 'They may be on their way, then try again; else rescan the bus (/sys/bus/pci/rescan), or give the map (option ports).',
    })
  }
  return { list, source: 'virtfn' }
}

function tablePorts(ports: readonly PciDevice[], table: PortTable): SdpPorts {
  const known = new Set(ports.map(({ address }) => address))
  const taken = new Set<string>()
  const port = (text: string, field: string): string => {
    const address = formatPciAddress(parsePciAddress(text, field))
    if (!known.has(address) || taken.has(address)) {
      const why = taken.has(address) ? 'it stands in the table twice' : `there is no function 177d:${SDP_PORT} at it`
      throw new OffloadError('INVALID_CONFIG', `${field} = ${text}: ${why}`, { hint: '`offload octeon inventory` lists the ports.' })
    }
    taken.add(address)
    return address
  }
  const management = port(table.management, 'ports.management')
  return { management, vfs: table.vfs.map((text, index) => port(text, `ports.vfs[${index}]`)), source: 'table' }
}
