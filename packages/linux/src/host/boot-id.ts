import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'

/**
 * The kernel's random id of this boot: another value means that every namespace of before is gone.
 *
 * @param root - where the host's file system is mounted
 * @throws OffloadError IO_FAILURE if it cannot be read or is empty
 */
export async function bootId(root: string = '/'): Promise<string> {
  const path = join(root, 'proc/sys/kernel/random/boot_id')
  let id: string
  try {
    id = (await readFile(path, 'utf8')).trim()
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `boot id ${path}`)
  }
  if (id === '') throw new OffloadError('IO_FAILURE', `boot id ${path} is empty`)
  return id
}
