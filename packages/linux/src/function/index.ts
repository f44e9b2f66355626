/**
 * What every backend of a card needs to know of its functions' network interfaces: which is which, how they were, and how they get into
 * pods and back.
 *
 * @packageDocumentation
 */
export * from './end.ts'
export * from './find.ts'
export * from './netdevs.ts'
export * from './note.ts'
export * from './options.ts'
export * from './owning.ts'
export * from './vf-settings.ts'
