import type { CommandOutcome } from '@cni-offload/linux/machine'
import type { FakeKernel } from '../kernel/fake-kernel.ts'
import { SystemError } from '../system-error.ts'
import type { FileTree } from '../tree/file-tree.ts'
import { type Command, complains, divide, done } from './command.ts'

/** File systems that can be mounted. */
const KINDS = new Set(['hugetlbfs', 'debugfs', 'tmpfs', 'bpf', 'configfs'])

/** What the kernel calls the sizes of pages in the options of a mount. */
function pageSize(kb: number): string {
  if (kb >= 1_048_576) return `${kb / 1_048_576}G`
  return kb >= 1_024 ? `${kb / 1_024}M` : `${kb}K`
}

/** `mount -t TYPE [-o OPTIONS] SOURCE TARGET`; without arguments it lists. */
export function mount(kernel: FakeKernel, tree: FileTree): Command {
  return async (args) => {
    const list = kernel.mounts.text().replaceAll(/^(\S+) (\S+) (\S+) (\S+) 0 0$/gm, '$1 on $2 type $3 ($4)')
    if (args.length === 0) return done(list)
    const { type, options, words } = mountArguments(args)
    const [source, target] = words
    if (source === undefined || target === undefined || words.length > 2 || type === undefined) return complains(1, 'mount: bad usage')
    if ((await tree.lookup(target))?.kind !== 'folder') return complains(32, `mount: ${target}: mount point does not exist.`)
    if (!KINDS.has(type)) return complains(32, `mount: ${target}: unknown filesystem type '${type}'.`)
    const size = /(?:^|,)pagesize=(\w+)/.exec(options)?.[1] ?? pageSize(kernel.hugepages.defaultKb)
    kernel.mounts.add({ source, target, type, options: type === 'hugetlbfs' ? `rw,relatime,pagesize=${size}` : 'rw,relatime' })
    return done()
  }
}

/** `umount TARGET`. */
export function umount(kernel: FakeKernel): Command {
  return (args) => {
    const target = divide(args).words[0]
    if (target === undefined) return complains(1, 'umount: bad usage')
    return kernel.mounts.remove(target) ? done() : complains(32, `umount: ${target}: not mounted.`)
  }
}

/** `mkdir [-p]`. */
export function mkdir(tree: FileTree): Command {
  return async (args) => {
    const { flags, words } = divide(args)
    const parents = flags.some((flag) => flag === '-p' || flag === '--parents')
    return await each('mkdir', 'cannot create directory', words, (path) => tree.makeFolder(path, parents))
  }
}

/** `rmdir`. */
export function rmdir(tree: FileTree): Command {
  return async (args) => await each('rmdir', 'failed to remove', divide(args).words, (path) => tree.removeFolder(path))
}

const TEXTS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  ENOTEMPTY: 'Directory not empty',
  EPERM: 'Operation not permitted',
}

async function each(
  program: string,
  what: string,
  paths: readonly string[],
  change: (path: string) => Promise<void>,
): Promise<CommandOutcome> {
  if (paths.length === 0) return complains(1, `${program}: missing operand`)
  for (const path of paths) {
    try {
      await change(path)
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      return complains(1, `${program}: ${what} '${path}': ${TEXTS[error.code] ?? error.code}`)
    }
  }
  return done()
}

function mountArguments(args: readonly string[]): {
  readonly type: string | undefined
  readonly options: string
  readonly words: readonly string[]
} {
  let type: string | undefined
  let options = ''
  const words: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    if (args[at] === '-t') type = args[(at += 1)]
    else if (args[at] === '-o') options = args[(at += 1)] ?? ''
    else words.push(args[at] ?? '')
  }
  return { type, options, words }
}
