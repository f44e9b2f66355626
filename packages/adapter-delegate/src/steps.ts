import { reached as announce } from '@cni-offload/sdk/runtime'

/**
 * Steps of the adapter: what has just happened whenever it has done something that outlives the agent. `detach` is also how failed
 * attaches are undone, and how what a running pod has is cleared before it is made anew. Gateways are announced to
 * running pods only.
 */
export const DELEGATE_STEPS = [
  'delegate.attach.noted',
  'delegate.attach.made',
  'delegate.attach.spliced',
  'delegate.attach.finished',
  'delegate.gateways.announced',
  'delegate.detach.noted',
  'delegate.detach.cut',
  'delegate.detach.unmade',
  'delegate.detach.links-deleted',
  'delegate.detach.forgotten',
] as const

/** Name of a step of the adapter. */
export type DelegateStep = (typeof DELEGATE_STEPS)[number]

/** Says that a step has been reached. */
export const reached = (step: DelegateStep): void => announce(step)
