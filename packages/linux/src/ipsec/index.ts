/**
 * What the kernel knows of IPsec: its security associations, without keys, and the drivers that encrypt for them.
 *
 * @packageDocumentation
 */
export type { SecurityAssociation } from './association-codec.ts'
export * from './associations.ts'
export * from './crypto-algorithms.ts'
