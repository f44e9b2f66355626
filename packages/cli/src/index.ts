/**
 * The parts of the `offload` command that programs use too: a lab of whole nodes on one Linux machine, a caller of CNI
 * executables as a runtime would be, and the demo.
 *
 * @packageDocumentation
 */
export * from './demo/report.ts'
export * from './demo/run.ts'
export { askNode } from './inspect/ask.ts'
export type { NodeView, PodView } from './inspect/view.ts'
export * from './lab/ask-cilium.ts'
export * from './lab/audit/audit.ts'
export { rowHoldings, rowHoldingsOfRunning } from './lab/audit/disk.ts'
export * from './lab/audit/holding.ts'
export * from './lab/cni-runtime.ts'
export * from './lab/inspect.ts'
export * from './lab/lab.ts'
export * from './lab/model.ts'
export { labNamespaces } from './lab/topology.ts'
