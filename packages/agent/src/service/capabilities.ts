import { type CniAdapter, OffloadError } from '@cni-offload/sdk'
import { capabilityDemands } from '@cni-offload/sdk/cni'
import type { AttachCall } from '@cni-offload/protocol'

const shown = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

/** Capabilities that an adapter honours. */
export function honoured({ capabilities }: CniAdapter): ReadonlySet<string> {
  return new Set([...capabilities.runtimeConfig, ...(capabilities.fixedMac ? ['mac'] : [])])
}

/**
 * Refuses what a request asks for and the adapter cannot honour: ignoring it would give a pod a network that is not the
 * one that was ordered.
 *
 * @throws OffloadError UNSUPPORTED_FIELD naming key and value
 */
export function refuseUnsupported(call: AttachCall, adapter: CniAdapter): void {
  const known = honoured(adapter)
  for (const [key, value] of capabilityDemands(call.runtimeConfig)) {
    if (known.has(key)) continue
    throw new OffloadError('UNSUPPORTED_FIELD', `runtimeConfig.${key} = ${shown(value)}: adapter "${adapter.name}" cannot honour it`, {
      hint: `It honours ${[...known].join(', ') || 'no capability arguments'}. Take "${key}" out of "capabilities" of the network configuration or choose another adapter.`,
    })
  }
  for (const { address } of call.hostIpam?.ips ?? []) {
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    if (!adapter.capabilities.families.includes(family))
      throw new OffloadError('UNSUPPORTED_FIELD', `hostIpam.ips = ${address}: adapter "${adapter.name}" assigns no ${family} addresses`)
  }
}
