import { reached as announce } from '@cni-offload/sdk/runtime'

/**
 * Steps of the adapter: what has just happened whenever it has done something that outlives the agent. `detach` is also how failed
 * attaches are undone, and `deletion` is what was put off until cilium-agent was back.
 */
export const CILIUM_STEPS = [
  'cilium.attach.noted',
  'cilium.attach.taken',
  'cilium.attach.addressed',
  'cilium.attach.device-made',
  'cilium.attach.endpoint-made',
  'cilium.attach.spliced',
  'cilium.attach.finished',
  'cilium.detach.cut',
  'cilium.detach.deleted',
  'cilium.detach.forgotten',
  'cilium.detach.put-off',
  'cilium.deletion.made-up-for',
  'cilium.deletion.forgotten',
] as const

/** Name of a step of the adapter. */
export type CiliumStep = (typeof CILIUM_STEPS)[number]

/** Says that a step has been reached. */
export const reached = (step: CiliumStep): void => announce(step)
