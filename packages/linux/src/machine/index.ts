/**
 * A machine's files and commands, as whoever sets up its hardware needs them.
 *
 * @packageDocumentation
 */
export * from './local-machine.ts'
export * from './machine.ts'
export * from './poll.ts'
