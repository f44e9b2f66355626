import { reached as announce } from '@cni-offload/sdk/runtime'

/** Steps of a proxy namespace: what has just happened whenever a port was moved. */
export const SPLICE_STEPS = ['splice.port.taken', 'splice.port.returned'] as const

/** Name of a step of a proxy namespace. */
export type SpliceStep = (typeof SPLICE_STEPS)[number]

/** Says that a step has been reached. */
export const reached = (step: SpliceStep): void => announce(step)
