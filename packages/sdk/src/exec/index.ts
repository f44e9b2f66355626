/**
 * Running stock CNI plugins as a container runtime does: one plugin, or a whole list with its chaining of results; and
 * programs in general.
 *
 * Only for Node: it starts processes.
 *
 * @packageDocumentation
 */
export * from './child.ts'
export * from './delegate-runner.ts'
export * from './list-runner.ts'
export * from './node-environment.ts'
export * from './orphans.ts'
export { PluginError } from './plugin-error.ts'
export * from './plugin-executor.ts'
export * from './plugin-list.ts'
export { decodeRaw, type RawResult } from './plugin-result.ts'
export * from './running-child.ts'
