import type { AttachCall } from '@cni-offload/protocol'
import { parseWith } from '@cni-offload/sdk'
import type { CniEnvironment, Netconf } from '@cni-offload/sdk/cni'
import { z } from 'zod'
import type { AttachIntent, AttachmentRow } from '../journal/types.ts'

/** Fields of our own in a netconf, besides the specification's. */
const ownFields = z.object({
  vlan: z.number().int().min(0).max(4094).optional(),
  ipsec: z.boolean().optional(),
})

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * What the agent is to be asked for, from what the runtime asked us for.
 *
 * @throws OffloadError INVALID_NETCONF naming the field
 */
export function attachIntent(env: CniEnvironment, netconf: Netconf): AttachIntent {
  const { prevResult, runtimeConfig: _separate, ...raw } = netconf.raw
  const own = parseWith(ownFields, raw, `netconf of network "${netconf.name}"`, 'INVALID_NETCONF')
  return {
    key: { network: netconf.name, containerId: env.containerId, ifName: env.ifName },
    pod: {
      namespace: env.args['K8S_POD_NAMESPACE'] ?? '',
      name: env.args['K8S_POD_NAME'] ?? '',
      uid: env.args['K8S_POD_UID'] ?? '',
    },
    netconf: raw,
    ...(netconf.prevResult !== undefined && isRecord(prevResult) ? { prevResult } : {}),
    runtimeConfig: netconf.runtimeConfig,
    cniArgs: env.args,
    // VLAN 0 means untagged in SR-IOV configurations.
    ...(own.vlan === undefined || own.vlan === 0 ? {} : { vlan: own.vlan }),
    flags: { ipsec: own.ipsec ?? false },
  }
}

/** The call for a journal's row. @param vfMac - what the VF has at the moment */
export function attachCall(row: AttachmentRow, vfMac: string): AttachCall {
  return { ...row.intent, vf: row.vf, vfMac }
}
