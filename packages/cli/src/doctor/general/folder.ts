import { randomUUID } from 'node:crypto'
import { rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Check, fail, type Finding, ok } from '../check.ts'

/** Whether a daemon can write its state folder, or the one that it will make it in. */
export function folderCheck(id: string, folder: string, after: readonly string[]): Check {
  return { id, title: 'the state folder can be written', after, run: async () => await writable(folder) }
}

async function writable(folder: string): Promise<Finding> {
  const found = await nearest(folder)
  const seen = found === folder ? folder : `${folder} is not there yet, ${found} is`
  const probe = join(found, `.doctor-${randomUUID()}`)
  try {
    // Written, not only asked for: a full or read-only file system has the permissions, too.
    await writeFile(probe, 'offload doctor\n', { flag: 'wx', mode: 0o600 })
    return ok(seen)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return fail(
      seen,
      `nothing can be written: ${why}`,
      'Correct "stateDir", its owner, or the file system; run this as the user of the daemon.',
    )
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

/** The folder itself, or the first above it that exists. */
async function nearest(folder: string): Promise<string> {
  const there = await stat(folder).then(
    () => true,
    () => false,
  )
  return there || dirname(folder) === folder ? folder : await nearest(dirname(folder))
}
