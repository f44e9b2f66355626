import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'

/** A file as it is on disk. */
export interface FoundFile {
  /** Its bytes. */
  readonly content: Buffer
  /** Its permissions. */
  readonly mode: number
  /** SHA-256 of its bytes, hexadecimal. */
  readonly sha256: string
}

/** SHA-256, hexadecimal. */
export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

/** Reads a regular file (links are followed), undefined if there is nothing. @throws OffloadError IO_FAILURE naming it */
export async function readFound(path: string): Promise<FoundFile | undefined> {
  try {
    const content = await readFile(path)
    return { content, mode: (await stat(path)).mode & 0o7777, sha256: sha256(content) }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw OffloadError.from(error, 'IO_FAILURE', `cannot read ${path}`)
  }
}

/**
 * Writes a file under a temporary name in its own folder and renames it: whoever looks sees the old file or the whole new one,
 * also after a power loss, and an executable that is running is never written to (ETXTBSY). A rename within the folder is also
 * what containerd notices; it overlooks a file that is moved in from elsewhere.
 *
 * @throws OffloadError IO_FAILURE naming the file
 */
export async function placeFile(path: string, content: Uint8Array, mode: number): Promise<void> {
  const temporary = `${temporaryPrefix(path)}${randomUUID()}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      // The creation mode went through the umask.
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true })
    throw OffloadError.from(error, 'IO_FAILURE', `cannot write ${path}`)
  }
}

/** Removes a file; that there is none is success. @throws OffloadError IO_FAILURE naming it */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
    await syncFolder(dirname(path))
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `cannot remove ${path}`)
  }
}

/** Removes the temporary files that a crash in {@link placeFile} may have left beside `path`. */
export async function removeLeftovers(path: string): Promise<void> {
  const prefix = basename(temporaryPrefix(path))
  const names = await readdir(dirname(path)).catch((): string[] => [])
  for (const name of names) if (name.startsWith(prefix) && name.endsWith('.tmp')) await rm(join(dirname(path), name), { force: true })
}

/** Neither a name that a runtime takes for a configuration, nor one that somebody else would choose. */
function temporaryPrefix(path: string): string {
  return join(dirname(path), `.${basename(path)}.cni-offload-`)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
