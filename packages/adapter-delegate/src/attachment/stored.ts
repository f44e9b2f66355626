import { normalizeCidr } from '@cni-offload/linux'
import type { AttachRequest, AttachResult } from '@cni-offload/sdk'
import type { ListCall, PodAddresses } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import type { AttachmentCall } from '../plugin-runner.ts'
import type { StoredAttachment } from '../state/attachment-store.ts'

/** How the plugins of an attachment are called. @param netns - path of the namespace; empty if it is gone */
export function listCall({ request, list, kept }: StoredAttachment, netns: string): AttachmentCall {
  const { containerId, ifName } = request.key
  const args = { ...podArgs(request), ...request.cniArgs }
  const call = { list, containerId, netns, ifName, args, runtimeConfig: request.runtimeConfig, ...conventionalArgs(request), request }
  return kept === undefined ? call : { ...call, kept }
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

/** `args.cni` of the netconf, where it is what the conventions say that it is. */
function conventionalArgs({ netconf }: AttachRequest): Pick<ListCall, 'cni'> {
  const parsed = z.object({ args: z.object({ cni: z.record(z.string(), z.unknown()) }) }).safeParse(netconf)
  return parsed.success ? { cni: parsed.data.args.cni } : {}
}

/** What Kubernetes runtimes say in CNI_ARGS, for hosts that told us the pod but not their CNI_ARGS. */
function podArgs({ pod, key }: AttachRequest): Record<string, string> {
  if (pod.name === '') return {}
  return { K8S_POD_NAMESPACE: pod.namespace, K8S_POD_NAME: pod.name, K8S_POD_INFRA_CONTAINER_ID: key.containerId, K8S_POD_UID: pod.uid }
}
