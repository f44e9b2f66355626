import { constants } from 'node:os'
import type { ErrorCode } from '@cni-offload/sdk'
import { errnoOf } from '../native/errno.ts'

/**
 * What the worker reports instead of an OffloadError: plain enough to cross a thread, and free of imports that would make
 * the worker slower to start.
 */
export class NetFailure extends Error {
  override readonly name = 'NetFailure'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

const codeOf = (errno: number | undefined): ErrorCode => {
  if (errno === undefined) return 'INTERNAL'
  if (errno === constants.errno.ENODEV) return 'NOT_FOUND'
  if (errno === constants.errno.EEXIST) return 'ALREADY_EXISTS'
  return 'KERNEL_REFUSED'
}

const hintOf = (errno: number | undefined): string | undefined =>
  errno === constants.errno.EPERM || errno === constants.errno.EACCES
    ? 'Run with CAP_NET_ADMIN and CAP_SYS_ADMIN in the initial user namespace.'
    : undefined

/** Turns anything thrown into a NetFailure whose message begins with what was attempted. */
export function failureOf(error: unknown, attempted: string): NetFailure {
  if (error instanceof NetFailure) return new NetFailure(error.code, `${attempted}: ${error.message}`, error.hint)
  const errno = errnoOf(error)
  const text = error instanceof Error ? error.message : String(error)
  return new NetFailure(codeOf(errno), `${attempted}: ${text}`, hintOf(errno))
}
