/**
 * Plain VF networks, configured as sriov-cni is: VLANs, QinQ and trunks on one bridge of the DPU, with guards against foreign
 * addresses, rates and link state on the port of each VF.
 *
 * @packageDocumentation
 */
export * from './netconf/ipam.ts'
export * from './netconf/netconf.ts'
export type { VlanRange } from './netconf/vlans.ts'
export * from './options.ts'
export * from './plugin.ts'
export * from './policy/policy.ts'
export { SRIOV_STEPS, type SriovStep } from './steps.ts'
