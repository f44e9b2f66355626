import { OffloadError } from '@cni-offload/sdk'

/** An address as configuration writes it, taken apart. */
export interface Address {
  /** What gRPC wants: `host:port` or `unix:path`. */
  readonly target: string
  /** What people read, and what can be parsed again: `tcp://host:port` or `unix:path`. */
  readonly text: string
  /** TCP host without brackets and port, or a socket's path. */
  readonly connect: { readonly host: string; readonly port: number } | { readonly path: string }
}

const TCP = /^tcp:\/\/(?:\[([0-9a-fA-F:.%a-z]+)\]|([^\s/:[\]]+)):(\d{1,5})$/

/**
 * Takes `tcp://host:port` (IPv6 hosts in brackets) or `unix:/path` apart.
 *
 * @throws OffloadError INVALID_CONFIG that names the address and what is expected
 */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '')
    // 107 is what fits into sockaddr_un beside the terminating zero; the kernel would cut the rest off silently.
    if (path.startsWith('/') && Buffer.byteLength(path) <= 107) return { target: `unix:${path}`, text: `unix:${path}`, connect: { path } }
    throw new OffloadError('INVALID_CONFIG', `address = ${JSON.stringify(text)}: expected unix: and an absolute path of at most 107 bytes`)
  }
  const [, v6, name, digits] = TCP.exec(text) ?? []
  const host = v6 ?? name
  const port = Number(digits)
  if (host === undefined || !(port <= 65_535))
    throw new OffloadError('INVALID_CONFIG', `address = ${JSON.stringify(text)}: expected tcp://host:port, tcp://[IPv6]:port or unix:/path`)
  return { target: `${v6 === undefined ? host : `[${host}]`}:${port}`, text, connect: { host, port } }
}
