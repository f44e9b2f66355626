/**
 * The software DPU: N veth pairs between the namespace of a host and the namespace of a DPU stand for N virtual functions
 * and their ports. It is for labs, tests and development, and the reference for hardware backends.
 *
 * It is not for nodes whose pods are not trusted: a pod with CAP_NET_ADMIN can forge or remove the marks (`ifalias`) by which
 * the card knows its functions, which it could not do to a real PCI function.
 *
 * @packageDocumentation
 */
export type { Card } from './card.ts'
export { type CardInSlot, plugCard, type Slot, unplugCard } from './plug.ts'
export { type CardFunctions, type CardPorts, moveFunctions, movePorts } from './ports.ts'
export { softDpu, type SoftDpuOptions, softHost, type SoftHostOptions } from './plugins.ts'
export { SoftDpu, type SoftDpuDeps } from './soft-dpu.ts'
export { SoftHost, type SoftHostDeps } from './soft-host.ts'
