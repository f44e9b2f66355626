/** Why a connection could not be made, in words. */
export interface ConnectionProblem {
  /** What is wrong. */
  readonly reason: string
  /** What to do about it. */
  readonly hint: string
}

const RENEW = (role: 'host' | 'agent'): string =>
  `Renew it with \`offload pki issue --role ${role}\`, it is picked up without a restart; or set the clocks of host and DPU right.`
const CLOCKS = 'Set the clocks of host and DPU right; the connection is made then without a restart.'

/** Problems that depend on what the time is. */
const OF_TIME = /certificate(: it)? (has expired|is not valid yet)/
const SAME_AUTHORITY = 'Host and agent need certificates of the same authority: compare both ends with `offload pki show`.'

const KNOWN: readonly (readonly [pattern: RegExp, reason: string, hint: string])[] = [
  // These first: their text also matches what is said of the agent's certificate.
  [/own certificate has expired/, "the agent refuses the host's certificate: it has expired", RENEW('host')],
  [/own certificate is not valid yet/, "the agent refuses the host's certificate: it is not valid yet", CLOCKS],
  [
    /own certificate .*(issued|for TLS clients)/,
    "the agent refuses the host's certificate",
    'Issue one with `offload pki issue --role host`.',
  ],
  [/right after the TLS handshake/, "the agent refuses the host's certificate", SAME_AUTHORITY],
  [/ECONNREFUSED|ENOENT/, 'nothing listens there', 'Check that the agent runs, and the address under "agent".'],
  [/EHOSTUNREACH|ENETUNREACH|ENETDOWN/, 'there is no route to it', 'Check the link between host and DPU and its addresses.'],
  [/ENOTFOUND|EAI_AGAIN|Name resolution failed/, 'its name cannot be resolved', 'Check the name, or use the IP address.'],
  [/no answer to TCP|ETIMEDOUT/, 'it does not answer', 'Check that the DPU is up and that no firewall drops the port.'],
  [
    /no TLS handshake/,
    'it accepts connections but does not speak TLS',
    'Check that the agent, and not something else, listens at the address.',
  ],
  [/CERT_HAS_EXPIRED|certificate has expired/, "the agent's certificate has expired", RENEW('agent')],
  [/CERT_NOT_YET_VALID|not yet valid/, "the agent's certificate is not valid yet", CLOCKS],
  [/connection was lost|Connection dropped/, 'the connection was lost', 'Check the link between host and DPU, and that the agent runs.'],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|protocol version/i,
    'it does not speak TLS 1.3',
    'Both ends must be cni-offload of a supported version.',
  ],
  [
    /WRONG_VERSION_NUMBER|wrong version number|packet length too long/i,
    'it does not speak TLS',
    'Check that the agent, and not something else, listens at the address.',
  ],
  [
    /INVALID_PURPOSE|certificate purpose/i,
    'the certificate that it shows is not for an agent',
    'An agent needs a certificate of role "agent".',
  ],
  [
    /UNABLE_TO_(VERIFY|GET_ISSUER)|SELF_SIGNED|CERT_SIGNATURE_FAILURE|unable to (verify|get)|self-signed|signature failure|CERT_UNTRUSTED/i,
    "the agent's certificate is from another authority",
    SAME_AUTHORITY,
  ],
  [/expected spiffe:/, 'somebody else is there', 'Check the address, and that the agent has the certificate of this node.'],
]

/**
 * Turns what Node, OpenSSL or gRPC say about a connection that failed into something that an operator can act on.
 *
 * @param now - what the clock of this host says, milliseconds since the epoch; told where it matters
 */
export function explainConnection(failure: Error | undefined, now: number = Date.now()): ConnectionProblem {
  const code = failure !== undefined && 'code' in failure ? String(failure.code) : ''
  const text = failure === undefined ? '' : `${code} ${failure.message}`
  const here = `By the clock of this host it is ${new Date(now).toISOString()}.`
  for (const [pattern, reason, hint] of KNOWN)
    if (pattern.test(text)) return { reason, hint: OF_TIME.test(reason) ? `${here} ${hint}` : hint }
  return { reason: 'no connection could be made', hint: 'Check that the agent runs and that its address and certificates are right.' }
}
