import { formatVfId, type HostDevice, type OpContext, type VirtualFunction } from '@cni-offload/sdk'
import type { AttachmentRow } from '../journal/types.ts'

/** Whether a VF lies where it can be leased from: at home, or with a driver that leaves it to programs. */
export function isAtHome({ netdev, userspace }: VirtualFunction): boolean {
  return netdev !== undefined || userspace !== undefined
}

/**
 * Why a program cannot have the VF of an attachment that was made without an interface, as readable phrases; none if it can.
 *
 * @throws OffloadError HARDWARE_FAILURE
 */
export async function lostToProgram(
  { device }: { readonly device: Pick<HostDevice, 'discover'> },
  { vf, userspace }: Pick<AttachmentRow, 'vf' | 'userspace'>,
  ctx: OpContext,
): Promise<readonly string[]> {
  const found = (await device.discover(ctx)).find(({ id }) => formatVfId(id) === formatVfId(vf))
  if (found?.userspace !== undefined) return []
  const has = found?.netdev === undefined ? '' : `: it has the interface ${found.netdev}`
  return [`VF ${formatVfId(vf)} is not with driver ${userspace} any more${has}`]
}
