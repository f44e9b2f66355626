/**
 * Pools of addresses for adapters: subnets, who has which address, and what pods ask for.
 *
 * Only for Node.
 *
 * @packageDocumentation
 */
export * from './address-pools.ts'
export * from './subnet.ts'
export * from './wanted.ts'
