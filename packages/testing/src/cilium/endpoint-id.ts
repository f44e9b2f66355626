import { ApiFailure } from './api-failure.ts'
import type { EndpointChangeRequest } from './api-model.ts'

/** Largest number of an endpoint. */
export const LARGEST_ID = 65_535

/** What an endpoint is found by. */
export interface EndpointIdentity {
  /** Number within the agent. */
  readonly id: number
  /** What it was made with. */
  readonly request: EndpointChangeRequest
}

/** Id of a CNI attachment: the sandbox, and the interface where it is known. */
export function attachmentId(request: EndpointChangeRequest): string {
  const { 'container-id': container = '', 'container-interface-name': ifName } = request
  return ifName === undefined || container === '' ? container : `${container}:${ifName}`
}

type Match = (endpoint: EndpointIdentity, value: string) => boolean

const MATCHES: Readonly<Record<string, Match>> = {
  'cilium-local': ({ id }, value) => String(id) === value,
  'cni-attachment-id': ({ request }, value) => attachmentId(request) === value,
  'cep-name': ({ request }, value) => `${request['k8s-namespace'] ?? ''}/${request['k8s-pod-name'] ?? ''}` === value,
  ipv4: ({ request }, value) => request.addressing?.ipv4 === value,
  ipv6: ({ request }, value) => request.addressing?.ipv6 === value,
}

const LEGACY_MATCHES: Readonly<Record<string, Match>> = {
  'container-id': ({ request }, value) => request['container-id'] === value,
  'container-name': ({ request }, value) => request['container-name'] === value,
  'pod-name': ({ request }, value) => `${request['k8s-namespace'] ?? ''}:${request['k8s-pod-name'] ?? ''}` === value,
}

/**
 * How to find an endpoint by an id of the API, `prefix:value`; without a prefix it is the agent's own number.
 *
 * @throws ApiFailure 400 for a prefix that this release does not know, or a number that is none
 */
export function endpointMatcher(id: string, legacyIds: boolean): (endpoint: EndpointIdentity) => boolean {
  const colon = id.indexOf(':')
  const [prefix, value] = colon < 0 ? ['cilium-local', id] : [id.slice(0, colon), id.slice(colon + 1)]
  const matches = MATCHES[prefix] ?? (legacyIds ? LEGACY_MATCHES[prefix] : undefined)
  if (matches === undefined) throw new ApiFailure(400, `unknown endpoint ID prefix "${prefix}"`)
  if (prefix === 'cilium-local' && !/^\d+$/.test(value))
    throw new ApiFailure(400, `invalid numeric cilium id: strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`)
  if (prefix === 'cilium-local' && Number(value) > LARGEST_ID) throw new ApiFailure(400, `endpoint id too large: ${value}`)
  return (endpoint) => value !== '' && matches(endpoint, value)
}
