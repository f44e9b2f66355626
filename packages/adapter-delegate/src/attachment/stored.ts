import type { ListCall, PodAddresses } from '@cni-offload/sdk/exec'
import type { StoredAttachment } from '../state/attachment-store.ts'

/** How the plugins of an attachment are called. @param netns - path of the namespace; empty if it is gone */
export function listCall({ key, list, args, runtimeConfig, cni }: StoredAttachment, netns: string): ListCall {
  return { list, containerId: key.containerId, netns, ifName: key.ifName, args, runtimeConfig, ...(cni === undefined ? {} : { cni }) }
}

/** What the pod of an attachment has; undefined if the attachment was never complete. */
export function addressesOf({ result, again }: StoredAttachment): PodAddresses | undefined {
  return result === undefined ? again : { mac: result.mac, ips: result.ips.map(({ address }) => address) }
}

/** An attachment with what its running pod has, until it has been made anew. */
export function withAgain(attachment: StoredAttachment, again: PodAddresses | undefined): StoredAttachment {
  return again === undefined ? attachment : { ...attachment, again }
}
