import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { moduleName, type ReadModule } from './modules.ts'

const run = promisify(execFile)

/** A kernel that was unpacked and not installed. */
export interface Kernel {
  /** The image to boot. */
  readonly image: string
  /** Its modules. */
  readonly read: ReadModule
}

/** The kernel in a root folder that packages were unpacked to. @param busybox - unpacks modules @throws Error if there is not just one */
export async function findKernel(root: string, busybox: string): Promise<Kernel> {
  const [version, ...more] = await readdir(join(root, 'lib/modules'))
  if (version === undefined || more.length > 0) throw new Error(`${root}/lib/modules: one kernel is expected`)
  const folder = join(root, 'lib/modules', version)
  const builtin = new Set((await readFile(join(folder, 'modules.builtin'), 'utf8')).split('\n').map(moduleName))
  const inside = await readdir(join(folder, 'kernel'), { recursive: true })
  const files = new Map(inside.filter((file) => /\.ko(\.xz)?$/.test(file)).map((file) => [moduleName(file), join(folder, 'kernel', file)]))
  return {
    image: join(root, 'boot', `vmlinuz-${version}`),
    async read(name) {
      const file = files.get(name)
      if (file === undefined) return builtin.has(name) ? 'builtin' : undefined
      return { name, data: file.endsWith('.xz') ? await unpacked(file, busybox) : await readFile(file) }
    },
  }
}

async function unpacked(file: string, busybox: string): Promise<Buffer> {
  return (await run(busybox, ['xzcat', file], { encoding: 'buffer', maxBuffer: 1 << 28 })).stdout
}
