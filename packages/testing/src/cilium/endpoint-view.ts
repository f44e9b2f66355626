import type { EndpointHealthModel, EndpointModel, HealthState, LabelStatusModel, NodeAddressing } from './api-model.ts'
import { attachmentId } from './endpoint-id.ts'
import type { FakeEndpoint } from './endpoints.ts'
import { type FakeIdentity, labelsHash } from './labels.ts'

const HEALTH: Readonly<Partial<Record<FakeEndpoint['state'], readonly [bpf: HealthState, policy: HealthState, overall: HealthState]>>> = {
  ready: ['OK', 'OK', 'OK'],
  regenerating: ['Pending', 'Pending', 'Pending'],
  'waiting-to-regenerate': ['Pending', 'Pending', 'Pending'],
  'waiting-for-identity': ['Disabled', 'Bootstrap', 'Disabled'],
  'not-ready': ['Warning', 'Warning', 'Warning'],
  invalid: ['Failure', 'Failure', 'Failure'],
}

/** Health of an endpoint as its state says. */
export function healthOf({ state }: Pick<FakeEndpoint, 'state'>): EndpointHealthModel {
  const [bpf, policy, overallHealth] = HEALTH[state] ?? ['Disabled', 'Disabled', 'Disabled']
  return { bpf, policy, overallHealth, connected: state !== 'disconnected' && state !== 'disconnecting' }
}

/** Labels of an endpoint as the API shows them. */
export function labelsOf({ userLabels }: Pick<FakeEndpoint, 'userLabels'>, identity: FakeIdentity): LabelStatusModel {
  return { realized: { user: [...userLabels] }, 'security-relevant': [...identity.labels], derived: [], disabled: [] }
}

/** An endpoint as the API shows it. */
export function viewOf(endpoint: FakeEndpoint, identity: FakeIdentity, addressing: NodeAddressing): EndpointModel {
  const { id, request, mac, state } = endpoint
  const { ipv4, ipv6 } = request.addressing ?? {}
  const pick = <K extends keyof typeof request>(...names: readonly K[]): Partial<Pick<typeof request, K>> =>
    Object.fromEntries(names.flatMap((name) => (request[name] === undefined ? [] : [[name, request[name]]]))) as Partial<
      Pick<typeof request, K>
    >
  const pod = request['k8s-pod-name']
  return {
    id,
    status: {
      state,
      'external-identifiers': {
        'cni-attachment-id': attachmentId(request),
        ...pick('container-id', 'container-name', 'k8s-namespace', 'k8s-pod-name'),
        ...(pod === undefined ? {} : { 'pod-name': `${request['k8s-namespace'] ?? ''}/${pod}` }),
      },
      identity: { id: identity.id, labels: [...identity.labels], labelsSHA256: labelsHash(identity.labels) },
      labels: labelsOf(endpoint, identity),
      networking: {
        addressing: [{ ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) }],
        mac,
        ...pick('host-mac', 'interface-index', 'interface-name', 'container-interface-name'),
        'host-addressing': addressing,
      },
      health: healthOf(endpoint),
    },
  }
}
