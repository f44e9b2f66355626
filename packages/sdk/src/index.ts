/**
 * Contracts, domain types and errors of cni-offload: all that an adapter or a hardware backend needs.
 *
 * This entry is light: it imports nothing but zod. CNI codecs are at `@cni-offload/sdk/cni`, running CNI plugins at
 * `@cni-offload/sdk/exec`, composition (scopes, tokens, lifecycle) at `@cni-offload/sdk/runtime`.
 *
 * @packageDocumentation
 */
export * from './contracts/adapter.ts'
export * from './contracts/attach-request.ts'
export * from './contracts/clock.ts'
export * from './contracts/context.ts'
export * from './contracts/hardware.ts'
export * from './contracts/logger.ts'
export * from './contracts/plugin.ts'
export * from './domain/attachment.ts'
export * from './domain/mac-address.ts'
export * from './domain/network.ts'
export * from './domain/repair.ts'
export * from './domain/vf.ts'
export * from './domain/vf-admin.ts'
export * from './errors/codes.ts'
export * from './errors/offload-error.ts'
export * from './errors/parse.ts'
