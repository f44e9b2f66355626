import { OffloadError } from '@cni-offload/sdk'

/** A text of the kernel that is not as it is known. @param index - of the line, undefined if a line is missing */
export function undecodable(path: string, index: number | undefined, line: string, wanted: string): OffloadError {
  const where = index === undefined ? `${path}: no ${JSON.stringify(line)}` : `${path}:${index + 1}: ${JSON.stringify(line)}`
  return new OffloadError('UNDECODABLE', `${where}: ${wanted} is expected`, {
    hint: 'The driver of this kernel prints something else than is known here: please report it with its release (uname -r).',
  })
}
