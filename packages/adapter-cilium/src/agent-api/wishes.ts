import { type AttachRequest, type AttachResult, macAddress, OffloadError, parseWith } from '@cni-offload/sdk'
import type { AgentInfo } from './agent-info.ts'
import type { PodAddresses, StoredAttachment } from '../state/attachment-store.ts'

/**
 * What the agent cannot be asked for is refused, never ignored.
 *
 * @throws OffloadError UNSUPPORTED_FIELD
 */
export function refuseUnsupported(req: AttachRequest): void {
  const refused = { hostIpam: req.hostIpam, vlan: req.vlan }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(value)}: adapter "cilium" cannot honour it`, {
        hint: 'Addresses are configured in Cilium; VLANs are for other adapters.',
      })
}

/**
 * Encryption is the agent's, for all pods or for none: a network that asks for it gets no pod while the agent does not encrypt.
 *
 * @throws OffloadError UNSUPPORTED_FIELD, or NOT_READY while the agent does not say what it does
 */
export function refuseUnencrypted({ flags }: AttachRequest, { encryption }: AgentInfo): void {
  if (!flags.ipsec || encryption === 'IPsec') return
  if (encryption === undefined)
    throw new OffloadError('NOT_READY', 'flags.ipsec = true: cilium-agent does not say yet whether it encrypts', {
      hint: 'It says so some seconds after its start; look at "cilium-dbg status" on the DPU.',
    })
  throw new OffloadError('UNSUPPORTED_FIELD', `flags.ipsec = true: the encryption mode of cilium-agent is ${encryption}`, {
    hint: 'Set encryption.enabled=true and encryption.type=ipsec in Cilium, or take "ipsec" out of the network.',
  })
}

/** The MAC that the pod gets unless an annotation of it asks for another. */
export function wantedMac({ runtimeConfig, vfMac }: AttachRequest): string {
  return runtimeConfig['mac'] === undefined ? vfMac : parseWith(macAddress, runtimeConfig['mac'], 'runtimeConfig.mac', 'INVALID_NETCONF')
}

/** What a pod with this result has. */
export function podAddresses({ mac, ips }: AttachResult): PodAddresses {
  return { mac, ips: ips.map(({ address }) => plainAddress(address)) }
}

/** An address without its prefix length. */
export function plainAddress(address: string): string {
  return address.replace(/\/.*$/, '')
}

/** What the running pod of an attachment has; undefined if it was never complete. */
export function addressesOf({ result, again }: StoredAttachment): PodAddresses | undefined {
  return result === undefined ? again : podAddresses(result)
}

/** Whether a pod that has the one would not notice the other. */
export function sameAddresses(a: PodAddresses, b: PodAddresses): boolean {
  return a.mac === b.mac && a.ips.toSorted().join() === b.ips.toSorted().join()
}
