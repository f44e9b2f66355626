import { OffloadError } from '@cni-offload/sdk'
import type { CallContext, PeerIdentity } from '@cni-offload/protocol'

/**
 * An agent serves the host that it is built into and nobody else.
 *
 * @throws OffloadError PERMISSION_DENIED naming both
 */
export function authorisePeer(peer: PeerIdentity | undefined, node: string): void {
  if (peer?.role === 'host' && peer.node === node) return
  const who = peer === undefined ? 'a peer without identity' : `${peer.role} "${peer.node}"`
  throw new OffloadError('PERMISSION_DENIED', `${who} may not use the agent of node "${node}"`, {
    hint: `Only a certificate for spiffe://cni-offload/host/${node} may.`,
  })
}

/** {@link authorisePeer} for a call. */
export function authoriseCall(ctx: CallContext, node: string): void {
  authorisePeer(ctx.peer, node)
}
