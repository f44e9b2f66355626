import { OffloadError, parseWith } from '@cni-offload/sdk'
import { capabilityDemands, type Netconf } from '@cni-offload/sdk/cni'
import { listCapabilities, type PluginList, pluginList } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import { DEFAULT_TRIGGERS, type FallbackConfig, type FallbackTrigger, triggers } from './config.ts'

/** Annotation by which a pod says where its network comes from: `offload` (as without it) or `host`. */
export const NETWORK_ANNOTATION = 'cni-offload.io/network'

/** Capability by which runtimes tell a pod's annotations, if the network configuration declares it. */
const ANNOTATIONS = 'io.kubernetes.cri.pod-annotations'

/** Why an attachment has the network of the host: a field of the netconf says so, or a trigger. */
export type FallbackReason = 'netconf' | FallbackTrigger

/** What holds for one network, or one pod in it. */
export interface FallbackPlan {
  /** The list that makes the network on the host. */
  readonly list: PluginList
  /** Set when the host's network is asked for: then nothing else is tried. */
  readonly asked?: 'netconf' | 'annotation'
  /** What else leads to it. */
  readonly when: ReadonlySet<FallbackTrigger>
}

const netconfFields = z.object({
  offload: z.boolean().optional(),
  fallback: z.strictObject({ conflist: pluginList.optional(), when: triggers.optional() }).optional(),
})

type NetconfFields = z.output<typeof netconfFields>

/**
 * Reads what a network configuration, the pod and the daemon's configuration say about the network on the host.
 *
 * @returns undefined when there is no list: then every pod is offloaded or fails
 * @throws OffloadError INVALID_NETCONF naming field or annotation and value; UNSUPPORTED_FIELD when the host's network is asked for
 * together with something that only the DPU has
 */
export function planFallback(config: FallbackConfig | undefined, netconf: Netconf): FallbackPlan | undefined {
  const what = `netconf of network "${netconf.name}"`
  const own = parseWith(netconfFields, netconf.raw, what, 'INVALID_NETCONF')
  const list = own.fallback?.conflist ?? config?.conflist
  if (list === undefined) {
    requireNothing(own, what)
    return undefined
  }
  const configured = own.fallback?.when ?? config?.when ?? DEFAULT_TRIGGERS
  const asked = own.offload === false ? 'netconf' : askedByAnnotation(netconf, configured)
  // The scheduler gave the pod a VF of its own: that another pod has it is a mistake, no shortage.
  const when = netconf.deviceId === undefined ? configured : configured.filter((trigger) => trigger !== 'no-free-vf')
  const only = own.fallback?.conflist === undefined ? dpuOnly(netconf) : undefined
  if (only === undefined) return { list, when: new Set(when), ...(asked === undefined ? {} : { asked }) }
  if (asked === undefined) return { list, when: new Set() }
  const [field, value] = only
  throw new OffloadError('UNSUPPORTED_FIELD', `${what}: ${field} = ${JSON.stringify(value)}: the network of the host does not have it`, {
    hint: `Give this network a list of its own (fallback.conflist) that provides it, or take "${field}" out.`,
  })
}

/** Whether a plan's list makes the network after offloading could not even begin. */
export function fallsBack(plan: FallbackPlan | undefined, trigger: FallbackTrigger): plan is FallbackPlan {
  return plan?.when.has(trigger) === true
}

/**
 * Refuses what a runtime asks for and no plugin of the list declares: without a word the pod would lack it.
 *
 * @throws OffloadError UNSUPPORTED_FIELD naming key and value
 */
export function refuseUndeclared(list: PluginList, runtimeConfig: Netconf['runtimeConfig']): void {
  const declared = new Set(listCapabilities(list))
  const stray = capabilityDemands(runtimeConfig).find(([name]) => !declared.has(name))
  if (stray === undefined) return
  const [name, value] = stray
  throw new OffloadError(
    'UNSUPPORTED_FIELD',
    `runtimeConfig.${name} = ${JSON.stringify(value).slice(0, 120)}: no plugin of list "${list.name}" declares it`,
    { hint: `Add a plugin that has the capability "${name}" to the list of the fallback.` },
  )
}

function requireNothing({ offload, fallback }: NetconfFields, what: string): void {
  const field = fallback === undefined ? 'offload = false' : 'fallback'
  if (offload !== false && fallback === undefined) return
  throw new OffloadError('INVALID_NETCONF', `${what}: ${field}: there is no plugin list for the host`, {
    hint: 'Name one, as fallback.conflist here or in the configuration of the host daemon.',
  })
}

/** What the node's list cannot know of: a pod that is to be kept apart, or encrypted, must not end up where it is neither. */
function dpuOnly({ raw }: Netconf): [string, unknown] | undefined {
  const { vlan, ipsec } = raw
  if (vlan !== undefined && vlan !== null && vlan !== 0) return ['vlan', vlan]
  return ipsec === true ? ['ipsec', ipsec] : undefined
}

function askedByAnnotation({ runtimeConfig }: Netconf, when: readonly FallbackTrigger[]): 'annotation' | undefined {
  const annotations = parseWith(
    z.record(z.string(), z.unknown()).optional(),
    runtimeConfig[ANNOTATIONS],
    `runtimeConfig: ${ANNOTATIONS}`,
    'INVALID_NETCONF',
  )
  const value = annotations?.[NETWORK_ANNOTATION]
  if (value === undefined || value === 'offload') return undefined
  const shown = `annotation ${NETWORK_ANNOTATION} = ${JSON.stringify(value)}`
  if (value !== 'host') throw new OffloadError('INVALID_NETCONF', `${shown}: expected "offload" or "host"`)
  if (when.includes('annotation')) return 'annotation'
  throw new OffloadError('INVALID_NETCONF', `${shown}: this network does not let pods choose the network of the host`, {
    hint: 'Add "annotation" to fallback.when, or take the annotation off the pod.',
  })
}
