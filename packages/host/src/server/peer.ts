import type { Socket } from 'node:net'
import { peerCredentials } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'

/**
 * User id of the process at the other end of a unix socket, as the kernel has noted it when it connected.
 *
 * Node has no public way to a socket's descriptor; without one nobody is let in.
 *
 * @throws OffloadError PERMISSION_DENIED if it cannot be found out
 */
export function peerUid(socket: Socket): number {
  const handle = '_handle' in socket ? socket._handle : undefined
  const fd = typeof handle === 'object' && handle !== null && 'fd' in handle ? handle.fd : undefined
  if (typeof fd !== 'number' || fd < 0)
    throw new OffloadError('PERMISSION_DENIED', 'the caller cannot be identified: its socket has no descriptor')
  return peerCredentials(fd).uid
}
