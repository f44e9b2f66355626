import type { PciDevice } from '@cni-offload/linux/pci'
import { functionsOf, hostFunctions, type OcteonFunctions, SDP_PORT } from './functions.ts'

/** Names of what can be wrong with the functions of a machine. They do not change. */
export type InventoryProblemId =
  | 'no-function'
  | 'pf-without-driver'
  | 'several-pfs'
  | 'no-pem'
  | 'one-sdp-rvu'
  | 'no-sdp-port'
  | 'no-port-for-vfs'
  | 'several-sdp-parents'
  | 'port-without-driver'
  | 'unknown-function'

/** Something that is wrong with the functions of a machine. */
export interface InventoryProblem {
  /** Its name. */
  readonly id: InventoryProblemId
  /** Functions that it is about, by address. */
  readonly functions: readonly string[]
  /** What was seen. */
  readonly seen: string
  /** What to do. */
  readonly remedy: string
}

const shown = (devices: readonly PciDevice[]): string => devices.map(({ address }) => address).join(', ')

const problem = (id: InventoryProblemId, devices: readonly PciDevice[], seen: string, remedy: string): InventoryProblem => ({
  id,
  functions: devices.map(({ address }) => address),
  seen,
  remedy,
})

/** What is wrong, as far as the functions alone tell. */
export function inventoryProblems(found: OcteonFunctions): InventoryProblem[] {
  const problems = found.side === 'host' ? hostProblems(found) : found.side === 'dpu' ? dpuProblems(found) : absent()
  const { unknown } = found
  if (unknown.length > 0) {
    const ids = unknown.map(({ address, vendor, device }) => `${address} (${vendor}:${device})`).join(', ')
    problems.push(
      problem('unknown-function', unknown, `functions that are not known: ${ids}`, 'None, if everything works: newer firmware has more.'),
    )
  }
  return problems
}

const absent = (): InventoryProblem[] => [
  problem(
    'no-function',
    [],
    'no PCI function of an OCTEON',
    'See whether the card is seated and has power; a card that boots later needs /sys/bus/pci/rescan.',
  ),
]

function hostProblems(found: OcteonFunctions): InventoryProblem[] {
  const pfs = hostFunctions(found)
  const idle = pfs.filter(({ driver }) => driver === undefined)
  const problems: InventoryProblem[] = []
  if (pfs.length > 1) {
    problems.push(
      problem(
        'several-pfs',
        pfs,
        `${pfs.length} physical functions: ${shown(pfs)}`,
        'Name the one to use (option pf): which ports of the DPU belong to which is documented for one only.',
      ),
    )
  }
  if (idle.length > 0) {
    problems.push(
      problem(
        'pf-without-driver',
        idle,
        `no driver has ${shown(idle)}`,
        'modprobe octeon_ep; if it is loaded, the firmware of the card is not ready: start its control plane agent.',
      ),
    )
  }
  return problems
}

function dpuProblems(found: OcteonFunctions): InventoryProblem[] {
  const [ports, pems, rvus] = [functionsOf(found, SDP_PORT), functionsOf(found, 'a06c'), functionsOf(found, 'a0ef')]
  const parents = new Set(ports.flatMap(({ physfn }) => (physfn === undefined ? [] : [physfn])))
  const idle = ports.filter(({ driver }) => driver === undefined)
  const problems: InventoryProblem[] = []
  const add = (...args: Parameters<typeof problem>): void => void problems.push(problem(...args))
  if (ports.length === 0) {
    add(
      'no-sdp-port',
      [],
      `no function ${SDP_PORT}: the host's functions have no other ends`,
      'Set the number of SDP functions in the firmware menu of the card, and load rvu_af or octeontx2-sdp.',
    )
  } else if (ports.length === 1) {
    add(
      'no-port-for-vfs',
      ports,
      `one function ${SDP_PORT}, which is the other end of the host's physical function`,
      'Set the number of SDP functions in the firmware menu of the card: one more than VFs.',
    )
  }
  if (parents.size > 1) {
    add(
      'several-sdp-parents',
      ports,
      `SDP functions of several physical ones: ${[...parents].join(', ')}`,
      'Give the table of ports (option ports): which belong to which VF is documented for one only.',
    )
  }
  if (idle.length > 0) add('port-without-driver', idle, `no driver has ${shown(idle)}`, 'modprobe rvu_nicvf')
  if (found.chip?.family === 'CN10K' && pems.length === 0) {
    add(
      'no-pem',
      [],
      'no function a06c (PCI link)',
      'Update the firmware of the card; with this one only the oldest control plane agent (up to SDK 12.24.11) works.',
    )
  }
  if (rvus.length === 1) {
    add(
      'one-sdp-rvu',
      rvus,
      'one function a0ef, where firmware has two or none',
      'Rescan the bus (/sys/bus/pci/rescan), then update the firmware of the card.',
    )
  }
  return problems
}
