import { reached as announce } from '@cni-offload/sdk/runtime'

/**
 * Steps of the agent: what has just happened whenever it, or its adapter, has done something that outlives it. Between any two of
 * them a crash must be harmless. `renew` and `resync` concern attachments of running pods, `detach` is also how a failed attach
 * and what a crash left are undone.
 */
export const AGENT_STEPS = [
  'agent.attach.noted',
  'agent.attach.connected',
  'agent.attach.finished',
  'agent.renew.connected',
  'agent.renew.finished',
  'agent.resync.given-up',
  'agent.detach.noted',
  'agent.detach.disconnected',
  'agent.detach.forgotten',
  'agent.recover.undone',
] as const

/** Name of a step of the agent. */
export type AgentStep = (typeof AGENT_STEPS)[number]

/** Says that a step has been reached. */
export const reached = (step: AgentStep): void => announce(step)
