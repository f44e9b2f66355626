import type { AttachmentKey, PodIdentity } from '@cni-offload/sdk'
import type { CiliumEndpoint, EndpointChange } from '../api/schemas.ts'
import type { PodAddresses } from '../state/attachment-store.ts'
import type { HeldAddress } from './address-book.ts'
import type { AgentEnd } from './endpoint-device.ts'
import { familyOf } from './pod-network.ts'

/** What an endpoint is made of. */
export interface EndpointParts {
  /** Attachment. */
  readonly key: AttachmentKey
  /** Pod. */
  readonly pod: PodIdentity
  /** MAC of the pod. */
  readonly mac: string
  /** The agent's end of its device. */
  readonly device: AgentEnd
  /** Its addresses. */
  readonly held: readonly HeldAddress[]
}

/** The request that cilium-cni would make for a pod. The labels are not in it: the agent knows the pod by its name. */
export function endpointChangeOf({ key, pod, mac, device, held }: EndpointParts): EndpointChange {
  return {
    state: 'waiting-for-identity',
    'sync-build-endpoint': true,
    'container-id': key.containerId,
    'container-interface-name': key.ifName,
    ...(pod.name === '' ? {} : { 'k8s-namespace': pod.namespace, 'k8s-pod-name': pod.name, 'k8s-uid': pod.uid }),
    mac,
    'host-mac': device.mac,
    'interface-name': device.name,
    'interface-index': device.index,
    addressing: Object.fromEntries(
      held.flatMap(({ ip, expirationUuid, pool }) => {
        const family = familyOf(ip)
        return [
          [family, ip],
          ...(expirationUuid === undefined ? [] : [[`${family}-expiration-uuid`, expirationUuid]]),
          ...(pool === undefined ? [] : [[`${family}-pool-name`, pool]]),
        ]
      }),
    ),
    'datapath-configuration': {},
  }
}

/** States in which an endpoint is not, or will not be, what it was made for. */
const LOST = ['invalid', 'disconnecting', 'disconnected']

/** Whether an endpoint serves its attachment by a device. @param device - the agent's end as it is now */
export function serves({ status }: CiliumEndpoint, device: AgentEnd | undefined): boolean {
  const index = status.networking?.['interface-index'] ?? 0
  return (
    !LOST.includes(status.state) &&
    device !== undefined &&
    status.networking?.['interface-name'] === device.name &&
    (index === 0 || index === device.index)
  )
}

/** What the pod of an endpoint has. */
export function addressesOfEndpoint({ status }: CiliumEndpoint): PodAddresses {
  const ips = (status.networking?.addressing ?? []).flatMap(({ ipv4, ipv6 }) => [ipv4 ?? '', ipv6 ?? '']).filter((ip) => ip !== '')
  return { mac: status.networking?.mac ?? '', ips }
}
