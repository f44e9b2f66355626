import type { FakeIdentity } from './labels.ts'

/** Labels that an endpoint has to have, with the values that it has to have. */
export type LabelSelector = Readonly<Record<string, string>>

/** One rule for what may come in, a small part of what a CiliumNetworkPolicy can say. */
export interface FakeIngressRule {
  /** Who may come: endpoints with one of these sets of labels; anybody if left out. */
  readonly fromEndpoints?: readonly LabelSelector[]
  /** To which ports; any if left out. */
  readonly toPorts?: readonly { readonly port: number; readonly protocol: 'TCP' | 'UDP' }[]
}

/** A policy for layers 3 and 4. What a policy selects lets in only what a rule allows. */
export interface FakePolicy {
  /** Whom it protects. */
  readonly endpointSelector: LabelSelector
  /** What may come in. */
  readonly ingress: readonly FakeIngressRule[]
}

/** An endpoint as far as policies see it. */
export interface PolicySubject {
  /** Its labels. */
  readonly identity: FakeIdentity
  /** Its addresses. */
  readonly ips: readonly string[]
}

/** What may pass to one address. */
export interface AllowedTraffic {
  /** Addresses that it may come from; undefined for any. */
  readonly from?: readonly string[]
  /** Ports that it may be for; undefined for any. */
  readonly ports?: FakeIngressRule['toPorts']
}

/** What a protected address lets in; everything else is dropped. */
export interface ProtectedAddress {
  /** The address. */
  readonly ip: string
  /** What may come in. */
  readonly allowed: readonly AllowedTraffic[]
}

const selects = (selector: LabelSelector, { labels }: FakeIdentity): boolean =>
  Object.entries(selector).every(([key, value]) => labels.includes(`k8s:${key}=${value}`))

/**
 * What policies mean for the endpoints that there are. Addresses that no policy selects are not in the answer.
 *
 * @param elsewhere - endpoints of other nodes, which are protected there
 */
export function protectedAddresses(
  policies: readonly FakePolicy[],
  endpoints: readonly PolicySubject[],
  elsewhere: readonly PolicySubject[] = [],
): ProtectedAddress[] {
  const everybody = [...endpoints, ...elsewhere]
  return endpoints.flatMap(({ identity, ips }) => {
    const rules = policies.filter(({ endpointSelector }) => selects(endpointSelector, identity))
    if (rules.length === 0) return []
    return ips.map((ip) => {
      const isV6 = ip.includes(':')
      const allowed = rules.flatMap(({ ingress }) =>
        ingress.map(({ fromEndpoints, toPorts }): AllowedTraffic => ({
          ...(fromEndpoints === undefined ? {} : { from: sources(fromEndpoints, everybody).filter((from) => from.includes(':') === isV6) }),
          ...(toPorts === undefined ? {} : { ports: toPorts }),
        })),
      )
      return { ip, allowed }
    })
  })
}

function sources(selectors: readonly LabelSelector[], endpoints: readonly PolicySubject[]): string[] {
  return endpoints.flatMap(({ identity, ips }) => (selectors.some((selector) => selects(selector, identity)) ? ips : []))
}
