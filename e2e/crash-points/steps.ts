import { DELEGATE_STEPS } from '@cni-offload/adapter-delegate'
import { AGENT_STEPS } from '@cni-offload/agent'
import { HELLO_STEPS } from '@cni-offload/example-hello-adapter'
import { HOST_STEPS } from '@cni-offload/host'
import { SPLICE_STEPS } from '@cni-offload/linux/splice'

/** All steps of ADD and DEL, in the catalogues of both daemons, of both adapters and of what they are made with. */
export const ALL_STEPS: readonly string[] = [...HOST_STEPS, ...AGENT_STEPS, ...DELEGATE_STEPS, ...HELLO_STEPS, ...SPLICE_STEPS].filter(
  (step) => /\.(add|attach|undo|detach|fallback-add|fallback-undo|port)\./.test(step),
)

/** Steps of pods that have the network of the host. */
export const FALLBACK_STEPS: readonly string[] = ALL_STEPS.filter((step) => step.startsWith('host.fallback-'))

/** Steps of pods that want their addresses from an IPAM plugin of the host; those of ADD come before the agent is asked. */
export const IPAM_STEPS: readonly string[] = HOST_STEPS.filter((step) => step.startsWith('host.ipam-'))

/** Whether a step is on the way of ADD; the others are on that of DEL. */
export const isOfAdd = (step: string): boolean => /\.(add|attach|fallback-add)\.|^splice\.port\.taken$/.test(step)
