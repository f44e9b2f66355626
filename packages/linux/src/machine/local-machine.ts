import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, readlink, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { runChild } from '@cni-offload/sdk/exec'
import { ifPresent, type Machine } from './machine.ts'

/**
 * The machine that this process runs on.
 *
 * @param root - folder that its files are in, for a container that has the machine's mounted somewhere; commands then run in it as their
 * root folder (`chroot`). @defaultValue `/`
 */
export function localMachine(root: string = '/'): Machine {
  const at = (path: string): string => join(root, path)
  return {
    read: async (path) => await readFile(at(path), 'utf8'),
    async write(path, text) {
      // Not 'r+': files of the kernel that can only be written refuse to be opened for both.
      const file = await open(at(path), constants.O_WRONLY)
      try {
        await file.write(text)
      } finally {
        await file.close()
      }
    },
    readlink: async (path) => await readlink(at(path)),
    list: async (path) => await readdir(at(path)),
    async place(path, text, wanted) {
      const target = at(path)
      const mode = wanted ?? (await modeOf(target)) ?? 0o644
      const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`)
      await mkdir(dirname(target), { recursive: true })
      try {
        const file = await open(temporary, 'wx', mode)
        try {
          await file.writeFile(text)
          await file.chmod(mode)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(temporary, target)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
    remove: async (path) => await rm(at(path), { force: true }),
    async run(argv, signal) {
      const env = { PATH: process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
      return await runChild({ argv: root === '/' ? argv : ['chroot', root, ...argv], env, stdin: '' }, signal)
    },
  }
}

async function modeOf(path: string): Promise<number | undefined> {
  const found = await ifPresent(stat(path))
  return found === undefined ? undefined : found.mode & 0o7777
}
