import { OffloadError } from '@cni-offload/sdk'

/** Why tests and labs with network namespaces need root; test titles and skip reasons carry it. */
export const ROOT_REASON: string = 'needs root: makes network namespaces and links'

/** Whether this process may make network namespaces. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** @throws OffloadError PERMISSION_DENIED with the remedy, if this process is not root */
export function requireRoot(): void {
  if (!isRoot())
    throw new OffloadError('PERMISSION_DENIED', `user ${process.getuid?.() ?? 'unknown'} may not go on: ${ROOT_REASON}`, {
      hint: 'run it again with sudo',
    })
}
