/**
 * State of a daemon or a plugin in SQLite: opened by one process, checked, and set aside when it cannot be read.
 *
 * Only for Node.
 *
 * @packageDocumentation
 */
export * from './failure.ts'
export * from './open-state.ts'
export * from './set-aside.ts'
export * from './transaction.ts'
