/** States of an endpoint, as the API names them. */
export const ENDPOINT_STATES = [
  'waiting-for-identity',
  'not-ready',
  'waiting-to-regenerate',
  'regenerating',
  'restoring',
  'ready',
  'disconnecting',
  'disconnected',
  'invalid',
] as const

/** State of an endpoint. */
export type EndpointState = (typeof ENDPOINT_STATES)[number]

/** Health of a part of an endpoint, as the API names it. */
export const HEALTH_STATES = ['OK', 'Bootstrap', 'Pending', 'Warning', 'Failure', 'Disabled'] as const

/** Health of a part of an endpoint. */
export type HealthState = (typeof HEALTH_STATES)[number]

/** Addresses of an endpoint. */
export interface AddressPair {
  readonly ipv4?: string
  readonly 'ipv4-expiration-uuid'?: string
  readonly 'ipv4-pool-name'?: string
  readonly ipv6?: string
  readonly 'ipv6-expiration-uuid'?: string
  readonly 'ipv6-pool-name'?: string
}

/** Addresses of a node in one family. */
export interface NodeAddressingElement {
  readonly 'address-type'?: string
  readonly 'alloc-range'?: string
  readonly enabled?: boolean
  readonly ip?: string
}

/** Addresses of a node. */
export interface NodeAddressing {
  readonly ipv4?: NodeAddressingElement
  readonly ipv6?: NodeAddressingElement
}

/** Health of an endpoint. */
export interface EndpointHealthModel {
  readonly bpf: HealthState
  readonly policy: HealthState
  readonly overallHealth: HealthState
  readonly connected: boolean
}

/** Labels of an endpoint. */
export interface LabelStatusModel {
  readonly realized?: { readonly user?: string[] }
  readonly 'security-relevant'?: string[]
  readonly derived?: string[]
  readonly disabled?: string[]
}

/** Body of `PUT /endpoint/{id}`, as far as the fake takes it. */
export interface EndpointChangeRequest {
  /** 0 or absent: the agent chooses. */
  readonly id?: number
  /** State to begin with. */
  readonly state: EndpointState
  /** Whether the answer waits until the endpoint forwards. */
  readonly 'sync-build-endpoint'?: boolean
  /** Sandbox. */
  readonly 'container-id'?: string
  /** Interface inside the sandbox. */
  readonly 'container-interface-name'?: string
  /** Network namespace of the sandbox, from 1.19. */
  readonly 'container-netns-path'?: string
  /** Name of the container, up to 1.19. */
  readonly 'container-name'?: string
  /** Namespace of the pod. */
  readonly 'k8s-namespace'?: string
  /** Name of the pod. */
  readonly 'k8s-pod-name'?: string
  /** UID of the pod. */
  readonly 'k8s-uid'?: string
  /** Labels besides those of the pod, `source:key=value`. */
  readonly labels?: string[]
  /** MAC of the pod's interface. */
  readonly mac?: string
  /** MAC of the agent's end of the device. */
  readonly 'host-mac'?: string
  /** Name of the agent's end of the device. */
  readonly 'interface-name'?: string
  /** Index of the agent's end of the device. */
  readonly 'interface-index'?: number
  /** Cookie of the sandbox's network namespace, a decimal number. */
  readonly 'netns-cookie'?: string
  /** Whether policies are enforced. */
  readonly 'policy-enabled'?: boolean
  /** Addresses that were allocated before. */
  readonly addressing?: AddressPair
  /** What is special about its datapath. */
  readonly 'datapath-configuration'?: {
    readonly 'disable-sip-verification'?: boolean
    readonly 'external-ipam'?: boolean
    readonly 'install-endpoint-route'?: boolean
    readonly 'require-arp-passthrough'?: boolean
    readonly 'require-egress-prog'?: boolean
    readonly 'require-routing'?: boolean | null
  }
}

/** An endpoint. */
export interface EndpointModel {
  readonly id: number
  readonly status: {
    readonly state: EndpointState
    readonly 'external-identifiers': {
      readonly 'cni-attachment-id'?: string
      readonly 'container-id'?: string
      readonly 'container-name'?: string
      readonly 'docker-endpoint-id'?: string
      readonly 'docker-network-id'?: string
      readonly 'k8s-namespace'?: string
      readonly 'k8s-pod-name'?: string
      readonly 'pod-name'?: string
    }
    readonly identity: { readonly id: number; readonly labels: string[] }
    readonly labels: LabelStatusModel
    readonly networking: {
      readonly addressing: AddressPair[]
      readonly mac?: string
      readonly 'host-mac'?: string
      readonly 'interface-index'?: number
      readonly 'interface-name'?: string
      readonly 'container-interface-name'?: string
    }
    readonly health: EndpointHealthModel
  }
}

/** Operations that the fake serves, named as in Cilium's description of the API. */
export const CILIUM_OPERATIONS = [
  'GET /config',
  'GET /healthz',
  'POST /ipam',
  'POST /ipam/{ip}',
  'DELETE /ipam/{ip}',
  'PUT /endpoint/{id}',
  'GET /endpoint/{id}',
  'DELETE /endpoint/{id}',
  'GET /endpoint/{id}/healthz',
  'GET /endpoint/{id}/labels',
  'PATCH /endpoint/{id}/labels',
  'GET /endpoint',
  'DELETE /endpoint',
] as const

/** One of {@link CILIUM_OPERATIONS}. */
export type CiliumOperation = (typeof CILIUM_OPERATIONS)[number]
