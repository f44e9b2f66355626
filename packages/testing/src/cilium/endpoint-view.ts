import type { EndpointHealthModel, EndpointModel, HealthState, LabelStatusModel } from './api-model.ts'
import { attachmentId } from './endpoint-id.ts'
import type { FakeEndpoint } from './endpoints.ts'
import type { FakeIdentity } from './labels.ts'

const HEALTH: Readonly<Partial<Record<FakeEndpoint['state'], readonly [bpf: HealthState, policy: HealthState, overall: HealthState]>>> = {
  ready: ['OK', 'OK', 'OK'],
  regenerating: ['Pending', 'Pending', 'Pending'],
  'waiting-to-regenerate': ['Pending', 'Pending', 'Pending'],
  'waiting-for-identity': ['Disabled', 'Bootstrap', 'Disabled'],
  'not-ready': ['Warning', 'Warning', 'Warning'],
  disconnecting: ['Pending', 'Pending', 'Pending'],
}

/** Health of an endpoint as its state says. */
export function healthOf({ state }: Pick<FakeEndpoint, 'state'>): EndpointHealthModel {
  const known = HEALTH[state]
  const [bpf, policy, overallHealth] = known ?? ['Disabled', 'Disabled', 'Disabled']
  return { bpf, policy, overallHealth, connected: known !== undefined }
}

/** Labels of an endpoint as the API shows them. */
export function labelsOf({ userLabels }: Pick<FakeEndpoint, 'userLabels'>, identity: FakeIdentity): LabelStatusModel {
  return { realized: { user: [...userLabels] }, 'security-relevant': [...identity.labels], derived: [], disabled: [] }
}

/** An endpoint as the API shows it. */
export function viewOf(endpoint: FakeEndpoint, identity: FakeIdentity): EndpointModel {
  const { id, request, mac, state } = endpoint
  const pod = request['k8s-pod-name']
  return {
    id,
    status: {
      state,
      'external-identifiers': {
        'cni-attachment-id': attachmentId(request),
        ...pick(request, 'container-id', 'container-name', 'k8s-namespace', 'k8s-pod-name'),
        ...(pod === undefined ? {} : { 'pod-name': `${request['k8s-namespace'] ?? ''}/${pod}` }),
      },
      identity: { id: identity.id, labels: [...identity.labels] },
      labels: labelsOf(endpoint, identity),
      networking: {
        addressing: [pick(request.addressing ?? {}, 'ipv4', 'ipv4-pool-name', 'ipv6', 'ipv6-pool-name')],
        mac,
        ...pick(request, 'host-mac', 'interface-index', 'interface-name', 'container-interface-name'),
      },
      health: healthOf(endpoint),
    },
  }
}

/** Those members of an object that it has. */
function pick<T extends object, K extends keyof T>(from: T, ...names: readonly K[]): Partial<Pick<T, K>> {
  return Object.fromEntries(names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]]))) as Partial<Pick<T, K>>
}
