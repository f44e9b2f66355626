import type { PciDevice } from '@cni-offload/linux/pci'
import type { Chip } from './chip.ts'
import type { OcteonFunction, Side } from './ids.ts'

/** Device id of the functions on the DPU that are the other ends of the host's. */
export const SDP_PORT = 'a0f7'

/** A function of an OCTEON on this machine. */
export interface OcteonDevice {
  /** What the machine says of it. */
  readonly pci: PciDevice
  /** What it is. */
  readonly what: OcteonFunction
}

/**
 * Which function the DPU's SDP functions belong to: the RVU's admin function (`af`) or a physical function of the SDP block (`sdp`). The
 * firmware decides.
 */
export type SdpLayout = 'af' | 'sdp'

/** What a machine has of OCTEONs. */
export interface OcteonFunctions {
  /** On which side of the card's PCI link the machine is, undefined where there is no function of an OCTEON. */
  readonly side: Side | undefined
  /** Layout of the SDP functions, undefined on a host and where there are none. */
  readonly layout: SdpLayout | undefined
  /** The chip, undefined where no function tells. */
  readonly chip: Chip | undefined
  /** Known functions by address. */
  readonly functions: readonly OcteonDevice[]
  /** Functions of the vendor that are not known, by address. */
  readonly unknown: readonly PciDevice[]
}

/** The functions with a device id, by address. */
export function functionsOf(inventory: Pick<OcteonFunctions, 'functions'>, device: string): PciDevice[] {
  return inventory.functions.flatMap(({ pci }) => (pci.device === device ? [pci] : []))
}

/** Physical functions of the packet interface on a host, one per card and PCI link, by address. */
export function hostFunctions({ functions }: Pick<OcteonFunctions, 'functions'>): PciDevice[] {
  return functions.flatMap(({ pci, what }) => (what.side === 'host' && what.kind === 'pf' ? [pci] : []))
}
