import { z } from 'zod'
import {
  type CiliumOperation,
  ENDPOINT_STATES,
  type EndpointChangeRequest,
  type EndpointHealthModel,
  type EndpointModel,
  HEALTH_STATES,
  type LabelStatusModel,
  type NodeAddressing,
} from './api-model.ts'

/**
 * The part of the agent's API that the fake serves, written by hand after `api/v1/openapi.yaml` of Cilium
 * (https://github.com/cilium/cilium, Apache-2.0). Answers are checked with it before they leave, so a field that the real
 * agent does not have cannot slip in.
 */

const text = z.string().exactOptional()
const integer = z.number().int().exactOptional()
const flag = z.boolean().exactOptional()
const texts = z.array(z.string())

const addressPair = z.strictObject({
  ipv4: text,
  'ipv4-expiration-uuid': text,
  'ipv4-pool-name': text,
  ipv6: text,
  'ipv6-expiration-uuid': text,
  'ipv6-pool-name': text,
})

const nodeAddressingElement = z.strictObject({ 'address-type': text, 'alloc-range': text, enabled: flag, ip: text })

const nodeAddressing: z.ZodType<NodeAddressing> = z.strictObject({
  ipv4: nodeAddressingElement.exactOptional(),
  ipv6: nodeAddressingElement.exactOptional(),
})

const ipamAddress = z.strictObject({
  ip: text,
  gateway: text,
  cidrs: texts.exactOptional(),
  'expiration-uuid': text,
  'master-mac': text,
  'interface-number': text,
  'skip-masquerade': flag,
})

const endpointState = z.enum(ENDPOINT_STATES)

const health = z.enum(HEALTH_STATES)

const endpointHealth: z.ZodType<EndpointHealthModel> = z.strictObject({
  bpf: health,
  policy: health,
  overallHealth: health,
  connected: z.boolean(),
})

const labelConfigurationStatus: z.ZodType<LabelStatusModel> = z.strictObject({
  realized: z.strictObject({ user: texts.exactOptional() }).exactOptional(),
  'security-relevant': texts.exactOptional(),
  derived: texts.exactOptional(),
  disabled: texts.exactOptional(),
})

const endpoint: z.ZodType<EndpointModel> = z.strictObject({
  id: z.number().int().min(1).max(65_535),
  status: z.strictObject({
    state: endpointState,
    'external-identifiers': z.strictObject({
      'cni-attachment-id': text,
      'container-id': text,
      'container-name': text,
      'docker-endpoint-id': text,
      'docker-network-id': text,
      'k8s-namespace': text,
      'k8s-pod-name': text,
      'pod-name': text,
    }),
    identity: z.strictObject({ id: z.number().int(), labels: texts, labelsSHA256: text }),
    labels: labelConfigurationStatus,
    networking: z.strictObject({
      addressing: z.array(addressPair),
      mac: text,
      'host-mac': text,
      'interface-index': integer,
      'interface-name': text,
      'container-interface-name': text,
      'host-addressing': nodeAddressing.exactOptional(),
    }),
    health: endpointHealth,
  }),
})

/** Body of `PUT /endpoint/{id}`. Members that the agent does not know are ignored by it, as Go's decoder does. */
export const endpointChange: z.ZodType<EndpointChangeRequest> = z.object({
  id: integer,
  state: endpointState,
  'sync-build-endpoint': flag,
  'container-id': text,
  'container-interface-name': text,
  'container-netns-path': text,
  'container-name': text,
  'k8s-namespace': text,
  'k8s-pod-name': text,
  'k8s-uid': text,
  labels: texts.exactOptional(),
  mac: text,
  'host-mac': text,
  'interface-name': text,
  'interface-index': integer,
  'netns-cookie': text,
  'policy-enabled': flag,
  addressing: addressPair.exactOptional(),
  'datapath-configuration': z
    .object({
      'disable-sip-verification': flag,
      'external-ipam': flag,
      'install-endpoint-route': flag,
      'require-arp-passthrough': flag,
      'require-egress-prog': flag,
      'require-routing': z.boolean().nullable().exactOptional(),
    })
    .exactOptional(),
})

const status = z.strictObject({ state: z.enum(['Ok', 'Warning', 'Failure', 'Disabled']), msg: text })

const statusResponse = z.strictObject({
  cilium: status,
  kubernetes: z.strictObject({ state: status.shape.state, msg: text, 'k8s-api-versions': texts.exactOptional() }),
  'cni-chaining': z.strictObject({ mode: text }),
  cluster: z.strictObject({ self: text }),
  routing: z.strictObject({ 'inter-host-routing-mode': text, 'intra-host-routing-mode': text, 'tunnel-protocol': text }),
  encryption: z.strictObject({ mode: text, msg: text }),
  'datapath-mode': text,
  ipam: z
    .strictObject({ ipv4: texts.exactOptional(), ipv6: texts.exactOptional(), allocations: z.record(z.string(), z.string()), status: text })
    .exactOptional(),
})

const daemonConfiguration = z.strictObject({
  spec: z.strictObject({}),
  status: z.strictObject({
    addressing: nodeAddressing,
    datapathMode: z.enum(['veth', 'netkit', 'netkit-l2']),
    configuredDatapathMode: z.enum(['auto', 'veth', 'netkit', 'netkit-l2']).exactOptional(),
    deviceMTU: z.number().int(),
    routeMTU: z.number().int(),
    deviceHeadroom: integer,
    deviceTailroom: integer,
    GROMaxSize: integer,
    GSOMaxSize: integer,
    GROIPv4MaxSize: integer,
    GSOIPv4MaxSize: integer,
    ipLocalReservedPorts: text,
    'ipam-mode': z.string(),
    masquerade: flag,
  }),
})

/** An error is a JSON string. */
const error = z.string()
const nothing = z.undefined()

/** What an operation takes and answers. */
export interface OperationDescription {
  /** Body that is taken, if one is. */
  readonly request?: z.ZodType
  /** Body of each answer that is possible. */
  readonly answers: Readonly<Record<number, z.ZodType>>
}

const endpointFailures = { 400: error, 403: error, 404: nothing, 429: z.union([nothing, error]), 500: error, 503: error }

/** What each operation takes and answers. */
export const API_DESCRIPTION: Readonly<Record<CiliumOperation, OperationDescription>> = {
  'GET /config': { answers: { 200: daemonConfiguration, 403: error } },
  'GET /healthz': { answers: { 200: statusResponse, 403: error } },
  'POST /ipam': {
    answers: {
      201: z.strictObject({
        address: addressPair,
        'host-addressing': nodeAddressing,
        ipv4: ipamAddress.exactOptional(),
        ipv6: ipamAddress.exactOptional(),
      }),
      403: error,
      502: error,
    },
  },
  'POST /ipam/{ip}': { answers: { 200: nothing, 400: error, 403: error, 409: error, 500: error, 501: error } },
  'DELETE /ipam/{ip}': { answers: { 200: nothing, 400: error, 403: error, 404: nothing, 500: error, 501: error } },
  'PUT /endpoint/{id}': { request: endpointChange, answers: { ...endpointFailures, 201: endpoint, 409: nothing } },
  'GET /endpoint/{id}': { answers: { ...endpointFailures, 200: endpoint } },
  'DELETE /endpoint/{id}': { answers: { ...endpointFailures, 200: nothing, 206: z.number().int() } },
  'GET /endpoint/{id}/healthz': { answers: { ...endpointFailures, 200: endpointHealth } },
  'GET /endpoint/{id}/labels': {
    answers: {
      ...endpointFailures,
      200: z.strictObject({ spec: z.strictObject({ user: texts }), status: labelConfigurationStatus }),
    },
  },
  'PATCH /endpoint/{id}/labels': { request: z.object({ user: texts.exactOptional() }), answers: { ...endpointFailures, 200: nothing } },
  'GET /endpoint': { request: texts.optional(), answers: { ...endpointFailures, 200: z.array(endpoint) } },
  'DELETE /endpoint': {
    request: z.object({ 'container-id': text }),
    answers: { ...endpointFailures, 200: nothing, 206: z.number().int() },
  },
}
