import { Refusal, SystemError } from '../system-error.ts'
import type { Entry, FileEntry, FolderEntry } from './entry.ts'
import { OrdinaryFile, OrdinaryFolder } from './ordinary.ts'

/** As many links as Linux follows. */
const LINK_LIMIT = 40

/** The files of a machine: paths, links and refusals as a system call has them. */
export class FileTree {
  readonly #root: OrdinaryFolder

  constructor(root: OrdinaryFolder) {
    this.#root = root
  }

  async read(path: string): Promise<string> {
    const { read } = await this.#file(path, 'open')
    if (read === undefined) throw new SystemError('EACCES', 'open', path)
    return await answered('read', path, read)
  }

  async write(path: string, text: string): Promise<void> {
    const { write } = await this.#file(path, 'open')
    if (write === undefined) throw new SystemError('EACCES', 'open', path)
    await answered('write', path, () => write(text))
  }

  async readlink(path: string): Promise<string> {
    const entry = await this.#find(path, 'readlink', false)
    if (entry.kind !== 'link') throw new SystemError('EINVAL', 'readlink', path)
    return entry.target
  }

  async list(path: string): Promise<string[]> {
    const entry = await this.#find(path, 'scandir', true)
    if (entry.kind !== 'folder') throw new SystemError('ENOTDIR', 'scandir', path)
    return [...(await entry.entries()).keys()]
  }

  /** Makes or replaces an ordinary file, and folders that it needs. */
  async place(path: string, text: string, mode: number): Promise<void> {
    const { folder, name } = await this.#parent(path, true)
    if ((await folder.entries()).get(name)?.kind === 'folder') throw new SystemError('EISDIR', 'rename', path)
    if (!(folder instanceof OrdinaryFolder)) throw new SystemError('EACCES', 'open', path)
    folder.own.set(name, new OrdinaryFile(text, mode))
  }

  /** Removes an ordinary file or link; that there is none is success. */
  async remove(path: string): Promise<void> {
    const { folder, name } = await this.#parent(path, false).catch((error: unknown) => {
      if (error instanceof SystemError && error.code === 'ENOENT') return { folder: undefined, name: '' }
      throw error
    })
    const entry = (await folder?.entries())?.get(name)
    if (folder === undefined || entry === undefined) return
    if (entry.kind === 'folder') throw new SystemError('EISDIR', 'rm', path)
    if (!(folder instanceof OrdinaryFolder) || !folder.own.delete(name)) throw new SystemError('EPERM', 'unlink', path)
  }

  /** Makes a folder; with `parents`, those above it, too, and one that exists is success. */
  async makeFolder(path: string, parents: boolean): Promise<void> {
    const { folder, name } = await this.#parent(path, parents)
    const existing = (await folder.entries()).get(name)
    if (existing?.kind === 'folder' && parents) return
    if (existing !== undefined) throw new SystemError('EEXIST', 'mkdir', path)
    if (!(folder instanceof OrdinaryFolder)) throw new SystemError('EPERM', 'mkdir', path)
    folder.own.set(name, new OrdinaryFolder())
  }

  /** Removes an empty folder. */
  async removeFolder(path: string): Promise<void> {
    const { folder, name } = await this.#parent(path, false)
    const entry = (await folder.entries()).get(name)
    if (entry === undefined) throw new SystemError('ENOENT', 'rmdir', path)
    if (entry.kind !== 'folder') throw new SystemError('ENOTDIR', 'rmdir', path)
    if ((await entry.entries()).size > 0) throw new SystemError('ENOTEMPTY', 'rmdir', path)
    if (!(folder instanceof OrdinaryFolder) || !folder.own.delete(name)) throw new SystemError('EBUSY', 'rmdir', path)
  }

  /** What is there under a path, links followed; undefined if nothing is. */
  async lookup(path: string): Promise<Entry | undefined> {
    try {
      return await this.#find(path, 'stat', true)
    } catch (error) {
      if (error instanceof SystemError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined
      throw error
    }
  }

  async #file(path: string, syscall: string): Promise<FileEntry> {
    const entry = await this.#find(path, syscall, true)
    if (entry.kind === 'folder') throw new SystemError('EISDIR', syscall, path)
    if (entry.kind === 'link') throw new SystemError('ELOOP', syscall, path)
    return entry
  }

  async #parent(path: string, make: boolean): Promise<{ readonly folder: FolderEntry; readonly name: string }> {
    const parts = split(path)
    const name = parts.pop()
    if (name === undefined) throw new SystemError('EBUSY', 'open', path)
    const above = `/${parts.join('/')}`
    if (make) for (let end = 1; end <= parts.length; end += 1) await this.#ensureFolder(`/${parts.slice(0, end).join('/')}`)
    const entry = await this.#find(above, 'open', true)
    if (entry.kind !== 'folder') throw new SystemError('ENOTDIR', 'open', path)
    return { folder: entry, name }
  }

  async #ensureFolder(path: string): Promise<void> {
    const existing = await this.lookup(path)
    if (existing === undefined) return await this.makeFolder(path, false)
    if (existing.kind !== 'folder') throw new SystemError('ENOTDIR', 'mkdir', path)
  }

  async #find(path: string, syscall: string, follow: boolean): Promise<Entry> {
    let left = split(path)
    let at: Entry[] = [this.#root]
    let links = 0
    while (left.length > 0) {
      const [name = '', ...rest] = left
      const here = at.at(-1)
      if (here?.kind !== 'folder') throw new SystemError('ENOTDIR', syscall, path)
      left = rest
      if (name === '.') continue
      if (name === '..') {
        if (at.length > 1) at.pop()
        continue
      }
      const entry = here.entry === undefined ? (await here.entries()).get(name) : here.entry(name)
      if (entry === undefined) throw new SystemError('ENOENT', syscall, path)
      if (entry.kind === 'link' && (follow || rest.length > 0)) {
        if (++links > LINK_LIMIT) throw new SystemError('ELOOP', syscall, path)
        if (entry.target.startsWith('/')) at = at.slice(0, 1)
        left = [...split(entry.target), ...rest]
        continue
      }
      at.push(entry)
    }
    return at.at(-1) ?? this.#root
  }
}

const split = (path: string): string[] => path.split('/').filter((part) => part !== '')

async function answered<T>(syscall: string, path: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof Refusal) throw new SystemError(error.code, syscall, path)
    throw error
  }
}
