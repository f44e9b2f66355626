import { reached as announce } from '@cni-offload/sdk/runtime'

/** Steps of this adapter: what has just happened whenever it has done something that outlives the agent. */
export const HELLO_STEPS = [
  'hello.attach.address-leased',
  'hello.attach.port-bridged',
  'hello.detach.port-unplugged',
  'hello.detach.address-released',
] as const

/** Name of a step of this adapter. */
export type HelloStep = (typeof HELLO_STEPS)[number]

/** Says that a step has been reached, so that tests can crash the agent exactly there. */
export const reached = (step: HelloStep): void => announce(step)
