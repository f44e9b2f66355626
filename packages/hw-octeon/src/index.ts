/**
 * Marvell OCTEON: a PCI card that runs Linux. The host half gives pods its virtual functions, the DPU half maps them to ports, keeps the
 * card's control plane alive and tells what its crypto engine does.
 *
 * @packageDocumentation
 */
export * from './pci/ids.ts'
