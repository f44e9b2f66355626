import { OffloadError } from '@cni-offload/sdk'
import { type FallbackPlan, type FallbackReason, fallsBack } from './plan.ts'

/** How an ADD goes on: with what offloading it has begun with, or on the host. */
export type Decision<T> =
  | { readonly offloaded: T }
  | { readonly plan: FallbackPlan; readonly reason: FallbackReason; readonly cause?: OffloadError }

/** The first steps of offloading. What they throw may lead to the network of the host; what comes after them cannot any more. */
export interface FirstSteps<T> {
  /** Waits, shortly, until the agent can be used. */
  ready(): Promise<void>
  /** Takes a VF. */
  lease(): Promise<T>
}

/**
 * Decides, once and for all, where an attachment's network comes from. A pod that is asked to be on the host is not offloaded even
 * if it could be. A VF is either leased or the host's network is chosen, never both.
 *
 * @param signal - the caller's: that it gave up while the agent was away is no reason for anything
 * @throws what the steps throw where the plan does not provide for it
 */
export async function decide<T>(plan: FallbackPlan | undefined, steps: FirstSteps<T>, signal: AbortSignal): Promise<Decision<T>> {
  if (plan?.asked !== undefined) return { plan, reason: plan.asked }
  try {
    await steps.ready()
  } catch (error) {
    if (signal.aborted || !fallsBack(plan, 'dpu-down')) throw error
    return { plan, reason: 'dpu-down', cause: OffloadError.from(error) }
  }
  try {
    return { offloaded: await steps.lease() }
  } catch (error) {
    if (!OffloadError.is(error) || error.code !== 'NO_FREE_VF' || !fallsBack(plan, 'no-free-vf')) throw error
    return { plan, reason: 'no-free-vf', cause: error }
  }
}
