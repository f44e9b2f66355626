import { type CniAdapter, OffloadError } from '@cni-offload/sdk'
import type { AttachCall } from '@cni-offload/protocol'

/**
 * Arguments that a runtime passes to every plugin that declares them and that ask nothing of the network: metadata, the
 * VF choice that the host has already made, and resolver settings that the runtime applies itself.
 */
const ASK_NOTHING: ReadonlySet<string> = new Set([
  'io.kubernetes.cri.pod-annotations',
  'dns',
  'aliases',
  'CNIDeviceInfoFile',
  'deviceID',
  'cgroupPath',
])

const isEmpty = (value: unknown): boolean => {
  if (value === undefined || value === null || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}

const shown = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

/**
 * Refuses what a request asks for and the adapter cannot honour: ignoring it would give a pod a network that is not the
 * one that was ordered.
 *
 * @throws OffloadError UNSUPPORTED_FIELD naming key and value
 */
export function refuseUnsupported(call: AttachCall, adapter: CniAdapter): void {
  const { runtimeConfig, families } = adapter.capabilities
  const honoured = new Set(runtimeConfig)
  if (adapter.capabilities.fixedMac) honoured.add('mac')
  for (const [key, value] of Object.entries(call.runtimeConfig)) {
    if (isEmpty(value) || ASK_NOTHING.has(key) || honoured.has(key)) continue
    throw new OffloadError('UNSUPPORTED_FIELD', `runtimeConfig.${key} = ${shown(value)}: adapter "${adapter.name}" cannot honour it`, {
      hint: `It honours ${[...honoured].join(', ') || 'no capability arguments'}. Take "${key}" out of "capabilities" of the network configuration or choose another adapter.`,
    })
  }
  for (const { address } of call.hostIpam?.ips ?? []) {
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    if (!families.includes(family))
      throw new OffloadError('UNSUPPORTED_FIELD', `hostIpam.ips = ${address}: adapter "${adapter.name}" assigns no ${family} addresses`)
  }
}
