import { ERROR_CODES } from '../errors/codes.ts'
import { causeMessages, OffloadError } from '../errors/offload-error.ts'
import { NEWEST_CNI_VERSION } from './version.ts'

/** An error as a plugin has to report it. */
export interface EncodedError {
  /** The error object, for standard output. */
  readonly json: string
  /** The exit status. */
  readonly exitCode: number
}

/** Runtimes put these texts into events and logs; a plugin's whole standard error does not belong there. */
const MAX_TEXT = 4096

/**
 * containerd takes a failed DEL for a success, and forgets the attachment, if the text holds certain words. Texts come
 * from anywhere (the kernel, adapters, other plugins), so the words are changed here, at the last place.
 */
const withoutMagicWords = (text: string): string =>
  text
    .replaceAll('ENOENT: no such file or directory', 'ENOENT')
    .replaceAll('no such file or directory', 'ENOENT')
    .replaceAll('not found', 'not-found')

const shortened = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text)

/**
 * Encodes whatever was thrown as a CNI error object. `details` has the remedy and the causes.
 *
 * @param cniVersion - version of the configuration as far as it could be read; "" stands for the newest
 */
export function encodeError(error: unknown, cniVersion: string): EncodedError {
  const known = OffloadError.from(error)
  const details = [known.hint ?? '', ...causeMessages(known).filter((message) => message !== known.message)].filter((text) => text !== '')
  const json = JSON.stringify({
    cniVersion: cniVersion === '' ? NEWEST_CNI_VERSION : cniVersion,
    code: ERROR_CODES[known.code].cni,
    msg: shortened(withoutMagicWords(known.message)),
    details: shortened(withoutMagicWords(details.join('; '))),
  })
  return { json, exitCode: 1 }
}
