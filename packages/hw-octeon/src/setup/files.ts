import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import type { FileChange, FolderChange } from './change.ts'
import { runCommand } from './command.ts'
import { type ChangeKind, reversed } from './kind.ts'

const exists = async (machine: Machine, folder: string): Promise<boolean> => (await ifPresent(machine.list(folder))) !== undefined

/** The changes that make a folder and those above it, none if it is there. */
export async function planFolders(machine: Machine, folder: string): Promise<FolderChange[]> {
  const parts = folder.split('/').slice(1)
  const missing: FolderChange[] = []
  for (let depth = parts.length; depth > 0; depth--) {
    const path = `/${parts.slice(0, depth).join('/')}`
    if (await exists(machine, path)) break
    missing.unshift({ kind: 'folder', path })
  }
  return missing
}

/** The changes that give a file this text, none if it has it. */
export async function planFile(machine: Machine, path: string, after: string): Promise<(FolderChange | FileChange)[]> {
  const before = (await ifPresent(machine.read(path))) ?? null
  if (before === after) return []
  return [...(await planFolders(machine, path.slice(0, path.lastIndexOf('/')))), { kind: 'file', path, before, after }]
}

const shown = (text: string | null): string => (text === null ? 'no file' : `${text.split('\n').length - 1} lines`)

const fileEdits = ({ path, before, after }: FileChange) => [{ target: path, before: shown(before), after: shown(after) }]

/** Making a folder. */
export const folderKind: ChangeKind<FolderChange> = {
  edits: ({ path }) => [{ command: `mkdir ${path}` }],
  undoEdits: ({ path }) => [{ command: `rmdir ${path}` }],
  async apply({ path }, site) {
    if (await exists(site.machine, path)) return
    await runCommand(site, ['mkdir', path], 'See whether the file system is writable and has room.')
  },
  async undo({ path }, site) {
    const names = await ifPresent(site.machine.list(path))
    if (names === undefined) return 'nothing'
    if (names.length > 0) return { left: `${path}: somebody has put ${names.length} files or folders into it since` }
    await runCommand(site, ['rmdir', path], 'See whether the file system is writable.')
    return 'undone'
  },
}

/** Writing a file. */
export const fileKind: ChangeKind<FileChange> = {
  edits: fileEdits,
  undoEdits: (change) => reversed(fileEdits(change)),
  async apply({ path, after }, { machine }) {
    await machine.place(path, after)
  },
  async undo({ path, before, after }, { machine }) {
    const now = (await ifPresent(machine.read(path))) ?? null
    if (now === before) return 'nothing'
    if (now !== after) return { left: `${path}: somebody has changed it since` }
    if (before === null) await machine.remove(path)
    else await machine.place(path, before)
    return 'undone'
  },
}
