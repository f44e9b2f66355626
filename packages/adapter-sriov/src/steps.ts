import { reached as announce } from '@cni-offload/sdk/runtime'

/** Steps of this adapter: what has just happened whenever it has done something that outlives the agent. */
export const SRIOV_STEPS = [
  'sriov.attach.noted',
  'sriov.attach.addressed',
  'sriov.attach.port-plugged',
  'sriov.detach.port-unplugged',
  'sriov.detach.addresses-released',
  'sriov.detach.forgotten',
] as const

/** Name of a step of this adapter. */
export type SriovStep = (typeof SRIOV_STEPS)[number]

/** Says that a step has been reached, so that tests can crash the agent exactly there. */
export const reached = (step: SriovStep): void => announce(step)
