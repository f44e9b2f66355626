/**
 * What an unpatched CNI is offloaded with: a proxy namespace for each port, a splice between the port and what the CNI has made in
 * it, and notes that say whose it is.
 *
 * @packageDocumentation
 */
export * from './note.ts'
export * from './proxies.ts'
export * from './proxy-namespace.ts'
export * from './splice.ts'
export { SPLICE_STEPS, type SpliceStep } from './steps.ts'
