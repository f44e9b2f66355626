import { OffloadError } from '@cni-offload/sdk'
import { errnoOf } from '../machine/machine.ts'

/**
 * What the kernel's refusal of a write means.
 *
 * @param meanings - of the errors that have one of their own at this file
 */
export function refused(error: unknown, file: string, value: string, meanings: Readonly<Record<string, string>> = {}): OffloadError {
  if (OffloadError.is(error)) return error
  const errno = errnoOf(error)
  const told = `${file} = ${JSON.stringify(value)}`
  const meaning = errno === undefined ? undefined : meanings[errno]
  if (meaning !== undefined) return new OffloadError('KERNEL_REFUSED', `${told}: ${meaning} (${errno})`, { cause: error })
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
    return new OffloadError('PERMISSION_DENIED', `${told}: may not be written (${errno})`, {
      cause: error,
      hint: errno === 'EROFS' ? 'Give the container a writable /sys (privileged).' : 'Run it as root, with the capability SYS_ADMIN.',
    })
  }
  return OffloadError.from(error, 'KERNEL_REFUSED', told)
}
