import type { Machine } from '@cni-offload/linux/machine'
import { type PciDevice, pciDevices } from '@cni-offload/linux/pci'
import { type Chip, chipOf } from './chip.ts'
import { type OcteonDevice, type OcteonFunctions, SDP_PORT, type SdpLayout } from './functions.ts'
import { OCTEON_VENDOR, octeonFunction, type Side } from './ids.ts'
import { type InventoryProblem, inventoryProblems } from './problems.ts'

/** All that a machine has of OCTEONs. */
export interface OcteonInventory extends OcteonFunctions {
  /** What is wrong with the functions, as far as they alone tell. */
  readonly problems: readonly InventoryProblem[]
}

/** Bridges between the chip's buses, dozens of them, of which nobody has to know. */
const PCI_BRIDGE = 'a002'

const LAYOUTS: Readonly<Record<string, SdpLayout>> = { a065: 'af', a0f6: 'sdp' }

/**
 * What a machine has of OCTEONs, from its PCI functions alone.
 *
 * @throws OffloadError HARDWARE_FAILURE if the machine's files are not what they should be
 */
export async function readInventory(machine: Machine): Promise<OcteonInventory> {
  const devices = await pciDevices(machine, ({ vendor, device }) => vendor === OCTEON_VENDOR && device !== PCI_BRIDGE)
  const functions: OcteonDevice[] = []
  const unknown: PciDevice[] = []
  for (const pci of devices) {
    const what = octeonFunction(pci.vendor, pci.device)
    if (what === undefined) unknown.push(pci)
    else functions.push({ pci, what })
  }
  const side = sideOf(functions)
  const found = { side, layout: layoutOf(functions), chip: chipAmong(functions, side), functions, unknown }
  return { ...found, problems: inventoryProblems(found) }
}

/** A card may have another card in its own slots: who sees the card's insides is the card. */
function sideOf(functions: readonly OcteonDevice[]): Side | undefined {
  const sides = new Set(functions.map(({ what }) => what.side))
  return sides.has('dpu') ? 'dpu' : sides.has('host') ? 'host' : undefined
}

function layoutOf(functions: readonly OcteonDevice[]): SdpLayout | undefined {
  const port = functions.find(({ pci }) => pci.device === SDP_PORT && pci.physfn !== undefined)
  const parent = functions.find(({ pci }) => pci.address === port?.pci.physfn)
  return parent === undefined ? undefined : LAYOUTS[parent.pci.device]
}

function chipAmong(functions: readonly OcteonDevice[], side: Side | undefined): Chip | undefined {
  const chips = functions.flatMap(({ pci, what }) => (what.side === side ? [chipOf(pci)] : []))
  return chips.find(({ part }) => part !== undefined) ?? chips[0]
}
