/**
 * Marvell OCTEON: a PCI card that runs Linux. The host half gives pods its virtual functions, the DPU half maps them to ports, keeps the
 * card's control plane alive and tells what its crypto engine does.
 *
 * @packageDocumentation
 */
export * from './pci/ids.ts'
export * from './cfg/check.ts'
export * from './cfg/chips.ts'
export * from './cfg/format.ts'
export * from './cfg/generate.ts'
export * from './cfg/libconfig-parser.ts'
export { LibconfigSyntaxError } from './cfg/libconfig-scanner.ts'
export * from './cfg/libconfig-value.ts'
export * from './cfg/libconfig-writer.ts'
export * from './cfg/model.ts'
export * from './cfg/problem.ts'
