import { normalizeCidr } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'
import type { ListCall, PodAddresses } from '@cni-offload/sdk/exec'
import type { StoredAttachment } from '../state/attachment-store.ts'

/** How the plugins of an attachment are called. @param netns - path of the namespace; empty if it is gone */
export function listCall({ key, list, args, runtimeConfig, cni }: StoredAttachment, netns: string): ListCall {
  return { list, containerId: key.containerId, netns, ifName: key.ifName, args, runtimeConfig, ...(cni === undefined ? {} : { cni }) }
}

/** What the pod of an attachment has; undefined if the attachment was never complete. */
export function addressesOf({ result, again }: StoredAttachment): PodAddresses | undefined {
  return result === undefined ? again : podAddresses(result)
}

/** What a pod with this result has. */
export function podAddresses({ mac, ips }: AttachResult): PodAddresses {
  return { mac, ips: ips.map(({ address }) => address) }
}

/** Whether a pod that has the one would not notice the other. */
export function sameAddresses(a: PodAddresses, b: PodAddresses): boolean {
  const plain = ({ ips }: PodAddresses): string => ips.map(normalizeCidr).toSorted().join()
  return a.mac === b.mac && plain(a) === plain(b)
}

/** An attachment with what its running pod has, until it has been made anew. */
export function withAgain(attachment: StoredAttachment, again: PodAddresses | undefined): StoredAttachment {
  return again === undefined ? attachment : { ...attachment, again }
}
