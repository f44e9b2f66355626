import { type AttachRequest, type AttachResult, macAddress, OffloadError, parseWith } from '@cni-offload/sdk'
import type { PodAddresses, StoredAttachment } from '../state/attachment-store.ts'

/**
 * What the agent cannot be asked for is refused, never ignored.
 *
 * @throws OffloadError UNSUPPORTED_FIELD
 */
export function refuseUnsupported(req: AttachRequest): void {
  const refused = { hostIpam: req.hostIpam, vlan: req.vlan, 'flags.ipsec': req.flags.ipsec ? true : undefined }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(value)}: adapter "cilium" cannot honour it`, {
        hint: 'Addresses and encryption are configured in Cilium; VLANs are for other adapters.',
      })
}

/** The MAC that the pod gets unless an annotation of it asks for another. */
export function wantedMac({ runtimeConfig, vfMac }: AttachRequest): string {
  return runtimeConfig['mac'] === undefined ? vfMac : parseWith(macAddress, runtimeConfig['mac'], 'runtimeConfig.mac', 'INVALID_NETCONF')
}

/** What a pod with this result has. */
export function podAddresses({ mac, ips }: AttachResult): PodAddresses {
  return { mac, ips: ips.map(({ address }) => address.replace(/\/.*$/, '')) }
}

/** What the running pod of an attachment has; undefined if it was never complete. */
export function addressesOf({ result, again }: StoredAttachment): PodAddresses | undefined {
  return result === undefined ? again : podAddresses(result)
}

/** Whether a pod that has the one would not notice the other. */
export function sameAddresses(a: PodAddresses, b: PodAddresses): boolean {
  return a.mac === b.mac && a.ips.toSorted().join() === b.ips.toSorted().join()
}
