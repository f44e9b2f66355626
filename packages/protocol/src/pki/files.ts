import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'

/**
 * Writes a file so that readers see the old content or the whole new one, also after a power loss.
 *
 * @param mode - permissions from the first moment on
 * @throws OffloadError IO_FAILURE that names the file
 */
export async function writeAtomic(path: string, content: string, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}`)
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw OffloadError.from(error, 'IO_FAILURE', `can't write ${path}`)
  }
}

/**
 * Reads a file, undefined if it does not exist.
 *
 * @throws OffloadError IO_FAILURE that names the file
 */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw OffloadError.from(error, 'IO_FAILURE', `can't read ${path}`)
  }
}
