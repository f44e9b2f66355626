import { createHash } from 'node:crypto'
import type { AttachmentKey, PodIdentity } from '@cni-offload/sdk'
import type { DueDeletion, StoredAttachment } from '../state/attachment-store.ts'
import { withPools } from './pools.ts'

/** Name of the agent's end of an attachment's device, as cilium-cni names it. */
export function lxcName({ containerId, ifName }: AttachmentKey): string {
  return `lxc${createHash('sha256').update(`${containerId}:${ifName}`).digest('hex').slice(0, 12)}`
}

/**
 * MAC of the agent's end: what pods know their gateway by. It is the same when the device is made anew, so that a running pod's
 * neighbour cache stays right.
 */
export function gatewayMac(key: AttachmentKey): string {
  const octets = createHash('sha256')
    .update(`gateway of ${attachmentId(key)}`)
    .digest()
    .subarray(0, 5)
  return ['02', ...Array.from(octets, (octet) => octet.toString(16).padStart(2, '0'))].join(':')
}

/** How the agent finds the endpoint of an attachment; releases from 1.16 on know this id. */
export function endpointId(key: AttachmentKey): string {
  return `cni-attachment-id:${attachmentId(key)}`
}

/** The same as it stands in an endpoint. */
export function attachmentId({ containerId, ifName }: AttachmentKey): string {
  return `${containerId}:${ifName}`
}

/** Whose the addresses of a pod are, in the agent's words; without a pod, those of the sandbox. */
export function ownerOf({ namespace, name }: PodIdentity, { containerId }: AttachmentKey): string {
  return name === '' ? containerId : `${namespace}/${name}`
}

/** What has to go when an attachment goes. */
export function dueDeletion({ request: { key, pod }, ips, pools }: Pick<StoredAttachment, 'request' | 'ips' | 'pools'>): DueDeletion {
  return { key, owner: ownerOf(pod, key), ips, ...withPools(pools) }
}
