/**
 * Runs any stock CNI plugin list on the DPU and splices what it makes to the ports of the VFs.
 *
 * `delegate` is the adapter. The rest are its parts, for adapters that drive one particular CNI the same way.
 *
 * @packageDocumentation
 */
export * from '@cni-offload/linux/splice'
export * from '@cni-offload/sdk/exec'
export * from './adapter.ts'
export * from './options.ts'
export * from './plugin.ts'
export * from './plugin-runner.ts'
export * from './splice/announce-gateways.ts'
export * from './splice/pod-network.ts'
export * from './splice/pod-sysctls.ts'
export * from './splice/settle-gateways.ts'
export * from './state/attachment-store.ts'
export { DELEGATE_STEPS, type DelegateStep } from './steps.ts'
