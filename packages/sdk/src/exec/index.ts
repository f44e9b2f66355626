/**
 * Running stock CNI plugins as a container runtime does: one plugin, or a whole list with its chaining of results; and
 * programs in general.
 *
 * Only for Node: it starts processes.
 *
 * @packageDocumentation
 */
export * from './child.ts'
export * from './list-runner.ts'
export * from './node-environment.ts'
export * from './orphans.ts'
export * from './plugin-error.ts'
export * from './plugin-executor.ts'
export * from './plugin-list.ts'
export * from './running-child.ts'
