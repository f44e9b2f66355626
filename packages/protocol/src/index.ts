/**
 * `offload.v1`, the protocol between host daemon and DPU agent, over gRPC with mTLS.
 *
 * @packageDocumentation
 */
export { type Address, parseAddress } from './address.ts'
export * from './api.ts'
export { type ClientState } from './client/link.ts'
export { createOffloadClient, type OffloadClient, type OffloadClientOptions } from './client.ts'
export { errorFromStatus, statusFromError } from './errors.ts'
export { pulse, type Silence, untilSilent } from './heartbeat.ts'
export { identityUri, parseIdentityUri } from './identity.ts'
export { createInMemoryClient } from './in-memory.ts'
export * from './limits.ts'
export { createOffloadServer, type OffloadServer, type OffloadServerOptions } from './server.ts'
