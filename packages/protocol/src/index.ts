/**
 * `offload.v1`, the protocol between host daemon and DPU agent, over gRPC with mTLS.
 *
 * @packageDocumentation
 */
export * from './api.ts'
