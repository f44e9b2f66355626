import { constants } from 'node:os'
import { OffloadError } from '@cni-offload/sdk'
import { errnoOf } from '../native/errno.ts'
import { loadLibc } from '../native/libc.ts'
import { NETLINK_XFRM, NetlinkSocket } from '../netlink/socket.ts'
import { decodeAssociation, type SecurityAssociation } from './association-codec.ts'

const XFRM_MSG_NEWSA = 0x10
const XFRM_MSG_GETSA = 0x12

/**
 * All security associations of the network namespace of this process. The kernel gives them to CAP_NET_ADMIN only, with their keys, which
 * are passed over here.
 *
 * @throws OffloadError PERMISSION_DENIED, or KERNEL_REFUSED where the kernel has no IPsec
 */
export function securityAssociations(): SecurityAssociation[] {
  const buffer = NetlinkSocket.receiveBuffer()
  try {
    using socket = NetlinkSocket.open(loadLibc(), buffer, NETLINK_XFRM)
    return socket.dump(XFRM_MSG_GETSA, []).flatMap(({ type, payload }) => {
      const association = type === XFRM_MSG_NEWSA ? [decodeAssociation(payload)] : []
      payload.fill(0)
      return association
    })
  } catch (error) {
    const errno = errnoOf(error)
    const denied = errno === constants.errno.EPERM || errno === constants.errno.EACCES
    throw new OffloadError(
      denied ? 'PERMISSION_DENIED' : 'KERNEL_REFUSED',
      `security associations of the kernel: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error, hint: denied ? 'Run it as root on the DPU.' : 'Does the kernel have CONFIG_XFRM_USER and CONFIG_INET_ESP?' },
    )
  } finally {
    // The keys of all nodes went through it.
    buffer.fill(0)
  }
}
