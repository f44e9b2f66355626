import type { PeerIdentity } from './api.ts'

/** Trust domain of every certificate that the project issues. */
export const TRUST_DOMAIN: string = 'cni-offload'

/** A node name inside a certificate: what Kubernetes allows and a little more, never a "/". At most 253 characters. */
export const NODE_NAME: RegExp = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/

const URI = /^spiffe:\/\/cni-offload\/(host|agent)\/([A-Za-z0-9._-]{1,253})$/

/** The URI SAN that says who a certificate is for: `spiffe://cni-offload/<role>/<node>`. */
export function identityUri(identity: PeerIdentity): string {
  return `spiffe://${TRUST_DOMAIN}/${identity.role}/${identity.node}`
}

/** Who a URI names, or undefined if it is not one of ours. */
export function parseIdentityUri(uri: string): PeerIdentity | undefined {
  const [, role, node] = URI.exec(uri) ?? []
  if ((role !== 'host' && role !== 'agent') || node === undefined || !NODE_NAME.test(node)) return undefined
  return { role, node }
}

/**
 * Who a certificate is for, from the text that Node gives as its subject alternative names (`URI:…, DNS:…`).
 *
 * A certificate with several URIs is refused as SPIFFE demands: it would be ambiguous who it is for. Node quotes every
 * entry that holds a comma or a quote, so splitting at commas can't be tricked into seeing an entry that is not there.
 */
export function identityFromSan(san: string | undefined): PeerIdentity | undefined {
  const uris = (san ?? '').split(', ').filter((entry) => entry.startsWith('URI:'))
  const [only] = uris
  return only === undefined || uris.length !== 1 ? undefined : parseIdentityUri(only.slice('URI:'.length))
}
