import { ipAddress, macAddress } from '@cni-offload/sdk'
import { z } from 'zod'

// Written after api/v1/openapi.yaml of Cilium 1.16–1.20. Only what is used is looked at; what a newer release adds is passed over.

const text = z.string().nullish()
const number = z.number().int().nullish()

/** Addresses of a node in one family. */
export interface NodeFamily {
  /** Whether pods get addresses of this family. */
  readonly enabled?: boolean | null | undefined
  /** The router's address, which is the pods' gateway. */
  readonly ip?: string | null | undefined
}

/** `host-addressing` and `addressing` of several answers. */
export interface NodeAddressing {
  /** IPv4. */
  readonly ipv4?: NodeFamily | null | undefined
  /** IPv6. */
  readonly ipv6?: NodeFamily | null | undefined
}

const nodeFamily = z.object({ enabled: z.boolean().nullish(), ip: text })
const nodeAddressing: z.ZodType<NodeAddressing> = z.object({ ipv4: nodeFamily.nullish(), ipv6: nodeFamily.nullish() })

/** How the agent is configured: `status` of `GET /config`. */
export interface AgentConfig {
  /** Families and router addresses. */
  readonly addressing: NodeAddressing
  /** What the endpoints' devices are; left out by some releases for veth. */
  readonly datapathMode?: string | null | undefined
  /** MTU of the endpoints' devices, bytes. */
  readonly deviceMTU: number
  /** MTU of their default routes, bytes; 0 for none. */
  readonly routeMTU?: number | null | undefined
  /** Where addresses come from. */
  readonly 'ipam-mode'?: string | null | undefined
  /** Ports that pods must not use of their own accord. */
  readonly ipLocalReservedPorts?: string | null | undefined
  /** How pods look for the MTU of a path, as `tcp_mtu_probing` has it; left out for the kernel's way, and before 1.19. */
  readonly packetizationLayerPMTUDMode?: '0' | '1' | '2' | '' | null | undefined
  /** Whether BBR is for the node and not for pods; since 1.18. */
  readonly enableBBRHostNamespaceOnly?: boolean | null | undefined
}

/** Schema of `GET /config`. */
export const configReply: z.ZodType<{ readonly status: AgentConfig }> = z.object({
  status: z.object({
    addressing: nodeAddressing,
    datapathMode: text,
    deviceMTU: z.number().int().min(68).max(65_535),
    routeMTU: number,
    'ipam-mode': text,
    ipLocalReservedPorts: text,
    packetizationLayerPMTUDMode: z.enum(['0', '1', '2', '']).nullish(),
    enableBBRHostNamespaceOnly: z.boolean().nullish(),
  }),
})

/** State and text of a part of the agent. */
export interface PartStatus {
  /** `Ok`, `Warning`, `Failure` or `Disabled`. */
  readonly state?: string | null | undefined
  /** Reason or details. */
  readonly msg?: string | null | undefined
}

/** IPsec of a node: what `cilium-dbg encrypt status` adds. */
export interface IpsecStatus {
  /** Devices at which packets are decrypted. */
  readonly 'decrypt-interfaces'?: readonly string[] | null | undefined
  /** Errors of the kernel's IPsec since the boot. */
  readonly 'error-count'?: number | null | undefined
  /** Different keys in the kernel; left out for 0. */
  readonly 'keys-in-use'?: number | null | undefined
  /** Highest sequence number that was sent, of the highest there can be; `N/A` before the first packet. */
  readonly 'max-seq-number'?: string | null | undefined
  /** Those errors that occurred, by name. */
  readonly 'xfrm-errors'?: Readonly<Record<string, number>> | null | undefined
}

/** Encryption of traffic between nodes. An agent itself tells the mode only; the rest is of `cilium-dbg encrypt status`. */
export interface EncryptionStatus {
  /** `Disabled`, `IPsec`, `Wireguard`, `Ztunnel` (1.19 and newer); left out where the agent could not be asked. */
  readonly mode?: string | null | undefined
  /** What is wrong. */
  readonly msg?: string | null | undefined
  /** What the kernel of the node has of IPsec. */
  readonly ipsec?: IpsecStatus | null | undefined
}

const count = z.number().int().min(0).nullish()

/** Schema of the `encryption` part of `GET /healthz` and of `cilium-dbg encrypt status -o json`. */
export const encryptionStatus: z.ZodType<EncryptionStatus> = z.object({
  mode: text,
  msg: text,
  ipsec: z
    .object({
      'decrypt-interfaces': z.array(z.string()).nullish(),
      'error-count': count,
      'keys-in-use': count,
      'max-seq-number': text,
      'xfrm-errors': z.record(z.string(), z.number().int().min(0)).nullish(),
    })
    .nullish(),
})

/** How packets get to endpoints and to other nodes. */
export interface RoutingStatus {
  /** `Native` or `Tunnel`. */
  readonly 'inter-host-routing-mode'?: string | null | undefined
  /** `BPF` or `Legacy`: whether packets pass the network stack of the node. */
  readonly 'intra-host-routing-mode'?: string | null | undefined
  /** `vxlan` or `geneve`, in tunnels. */
  readonly 'tunnel-protocol'?: string | null | undefined
}

/** What the agent does for services. */
export interface ServiceStatus {
  /** `True` or `False`: whether it takes the place of kube-proxy. */
  readonly mode?: string | null | undefined
  /** Device that leads to other nodes. */
  readonly directRoutingDevice?: string | null | undefined
  /** What it does in detail. */
  readonly features?:
    | {
        /** Whether sockets are connected to a service's backends instead of packets being translated. */
        readonly socketLB?: { readonly enabled?: boolean | null | undefined } | null | undefined
        /** Whether that is for sockets of the node only, and packets of pods are translated. */
        readonly bpfSocketLBHostnsOnly?: boolean | null | undefined
      }
    | null
    | undefined
}

/** How the agent is: `GET /healthz`. What is optional is left out of a brief answer. */
export interface AgentHealth {
  /** The agent itself; `msg` names its release. */
  readonly cilium?: PartStatus | null | undefined
  /** Its connection to the API server. */
  readonly kubernetes?: PartStatus | null | undefined
  /** Whether it only adds to another CNI. */
  readonly 'cni-chaining'?: { readonly mode?: string | null | undefined } | null | undefined
  /** Name of the node that it believes to be on, with the name of the cluster. */
  readonly cluster?: { readonly self?: string | null | undefined } | null | undefined
  /** Encryption of traffic between nodes; nothing until the agent has looked for the first time. */
  readonly encryption?: EncryptionStatus | null | undefined
  /** How packets are routed. */
  readonly routing?: RoutingStatus | null | undefined
  /** Services. */
  readonly 'kube-proxy-replacement'?: ServiceStatus | null | undefined
  /** Who holds which address. */
  readonly ipam?: { readonly allocations?: Readonly<Record<string, string>> | null | undefined } | null | undefined
}

const part = z.object({ state: text, msg: text }).nullish()

/** Schema of `GET /healthz`. */
export const healthReply: z.ZodType<AgentHealth> = z.object({
  cilium: part,
  kubernetes: part,
  'cni-chaining': z.object({ mode: text }).nullish(),
  cluster: z.object({ self: text }).nullish(),
  encryption: encryptionStatus.nullish(),
  routing: z.object({ 'inter-host-routing-mode': text, 'intra-host-routing-mode': text, 'tunnel-protocol': text }).nullish(),
  'kube-proxy-replacement': z
    .object({
      mode: text,
      directRoutingDevice: text,
      features: z
        .object({ socketLB: z.object({ enabled: z.boolean().nullish() }).nullish(), bpfSocketLBHostnsOnly: z.boolean().nullish() })
        .nullish(),
    })
    .nullish(),
  ipam: z.object({ allocations: z.record(z.string(), z.string()).nullish() }).nullish(),
})

/** One address that was handed out. */
export interface AllocatedAddress {
  /** The address. */
  readonly ip: string
  /** Names the timer that takes it back unless an endpoint claims it. */
  readonly 'expiration-uuid'?: string | null | undefined
}

/** What `POST /ipam` answers. */
export interface Allocation {
  /** Pools that the addresses are of. */
  readonly address: { readonly 'ipv4-pool-name'?: string | null | undefined; readonly 'ipv6-pool-name'?: string | null | undefined }
  /** IPv4 address, if that family is enabled. */
  readonly ipv4?: AllocatedAddress | null | undefined
  /** IPv6 address, if that family is enabled. */
  readonly ipv6?: AllocatedAddress | null | undefined
}

const allocated = z.object({ ip: ipAddress, 'expiration-uuid': text }).nullish()

/** Schema of `POST /ipam`. */
export const allocationReply: z.ZodType<Allocation> = z.object({
  address: z.object({ 'ipv4-pool-name': text, 'ipv6-pool-name': text }),
  ipv4: allocated,
  ipv6: allocated,
})

/** An endpoint as the agent shows it. */
export interface CiliumEndpoint {
  /** Number within the agent. */
  readonly id: number
  /** What it is. */
  readonly status: {
    /** How far it is. */
    readonly state: string
    /** Whose it is. */
    readonly 'external-identifiers'?: { readonly 'cni-attachment-id'?: string | null | undefined } | null | undefined
    /** Its device and addresses. */
    readonly networking?:
      | {
          readonly addressing?:
            | readonly {
                readonly ipv4?: string | null | undefined
                readonly 'ipv4-pool-name'?: string | null | undefined
                readonly ipv6?: string | null | undefined
                readonly 'ipv6-pool-name'?: string | null | undefined
              }[]
            | null
            | undefined
          readonly mac?: string | null | undefined
          readonly 'interface-name'?: string | null | undefined
          readonly 'interface-index'?: number | null | undefined
        }
      | null
      | undefined
  }
}

/** Schema of an endpoint. */
export const endpointReply: z.ZodType<CiliumEndpoint> = z.object({
  id: z.number().int(),
  status: z.object({
    state: z.string(),
    'external-identifiers': z.object({ 'cni-attachment-id': text }).nullish(),
    networking: z
      .object({
        addressing: z.array(z.object({ ipv4: text, 'ipv4-pool-name': text, ipv6: text, 'ipv6-pool-name': text })).nullish(),
        // An endpoint of the host itself has none.
        mac: z.union([macAddress, z.literal('')]).nullish(),
        'interface-name': text,
        'interface-index': number,
      })
      .nullish(),
  }),
})

/** Schema of `GET /endpoint`. */
export const endpointsReply: z.ZodType<readonly CiliumEndpoint[]> = z.array(endpointReply)

/** Health of an endpoint. */
export interface EndpointHealth {
  /** `OK`, `Bootstrap`, `Pending`, `Warning`, `Failure` or `Disabled`. */
  readonly overallHealth?: string | null | undefined
}

/** Schema of `GET /endpoint/{id}/healthz`. */
export const endpointHealthReply: z.ZodType<EndpointHealth> = z.object({ overallHealth: text })

/** Labels of an endpoint. */
export interface EndpointLabels {
  /** Those that make its identity. */
  readonly status?: { readonly 'security-relevant'?: readonly string[] | null | undefined } | null | undefined
}

/** Schema of `GET /endpoint/{id}/labels`. */
export const labelsReply: z.ZodType<EndpointLabels> = z.object({
  status: z.object({ 'security-relevant': z.array(z.string()).nullish() }).nullish(),
})

/** Body of `PUT /endpoint/{id}`, as far as it is used. */
export interface EndpointChange {
  /** What the endpoint begins as. */
  readonly state: 'waiting-for-identity'
  /** Answer only when it forwards. */
  readonly 'sync-build-endpoint': true
  /** Sandbox. */
  readonly 'container-id': string
  /** Interface inside the sandbox. */
  readonly 'container-interface-name': string
  /** Namespace of the pod; its labels are looked up by it. */
  readonly 'k8s-namespace'?: string
  /** Name of the pod. */
  readonly 'k8s-pod-name'?: string
  /** UID of the pod. */
  readonly 'k8s-uid'?: string
  /** MAC of the pod. */
  readonly mac: string
  /** MAC of the agent's end of the device. */
  readonly 'host-mac': string
  /** Name of the agent's end of the device. */
  readonly 'interface-name': string
  /** Index of the agent's end of the device. */
  readonly 'interface-index': number
  /** Addresses that were allocated before. */
  readonly addressing: Readonly<Record<string, string>>
  /** Nothing special. */
  readonly 'datapath-configuration': Readonly<Record<string, never>>
}

/** Schema of `PUT /endpoint/{id}`. */
export const endpointChange: z.ZodType<EndpointChange> = z.strictObject({
  state: z.literal('waiting-for-identity'),
  'sync-build-endpoint': z.literal(true),
  'container-id': z.string().min(1),
  'container-interface-name': z.string().min(1),
  'k8s-namespace': z.string().exactOptional(),
  'k8s-pod-name': z.string().exactOptional(),
  'k8s-uid': z.string().exactOptional(),
  mac: macAddress,
  'host-mac': macAddress,
  'interface-name': z.string().min(1),
  'interface-index': z.number().int().min(1),
  addressing: z.record(z.string().regex(/^ipv[46](-expiration-uuid|-pool-name)?$/, 'a member of AddressPair'), z.string()),
  'datapath-configuration': z.strictObject({}),
})
