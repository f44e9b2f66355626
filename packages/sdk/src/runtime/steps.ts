import { channel } from 'node:diagnostics_channel'

/** Name of the diagnostics channel that steps are published on, each as a string. */
export const STEPS_CHANNEL: string = 'cni-offload:step'

// A handle of Node's own registry; without it every call would look the channel up.
const steps = channel(STEPS_CHANNEL)

/**
 * Says that something has just happened, so that a fault can be injected at exactly this instruction: subscribers of
 * {@link STEPS_CHANNEL} are called before it returns, and may end or stop the process. Nothing in production subscribes; then it
 * costs a comparison.
 *
 * @param step - `<daemon>.<verb>.<what has just happened>`; packages keep the names of their steps in one list
 */
export function reached(step: string): void {
  if (steps.hasSubscribers) steps.publish(step)
}
