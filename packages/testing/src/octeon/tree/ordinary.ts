import type { Awaitable, Entry, FileEntry, FolderEntry } from './entry.ts'

/** A file on a disk, or in memory of a tmpfs. */
export class OrdinaryFile implements FileEntry {
  readonly kind = 'file'
  /** Permissions. */
  readonly mode: number
  #text: string

  constructor(text: string, mode: number) {
    this.#text = text
    this.mode = mode
  }

  readonly read = (): string => this.#text

  /** As a write at the start of a file that is not cut off: what it does not cover stays. */
  readonly write = (text: string): void => {
    this.#text = text + this.#text.slice(text.length)
  }
}

/** A folder on a disk, in which files can be made and removed. What the kernel shows in it, such as a mounted file system, comes on top. */
export class OrdinaryFolder implements FolderEntry {
  readonly kind = 'folder'
  /** What lies in it on the disk. */
  readonly own: Map<string, Entry> = new Map()
  readonly #kernel: () => Awaitable<ReadonlyMap<string, Entry>>

  constructor(kernel: () => Awaitable<ReadonlyMap<string, Entry>> = () => new Map<string, Entry>()) {
    this.#kernel = kernel
  }

  async entries(): Promise<ReadonlyMap<string, Entry>> {
    return new Map([...this.own, ...(await this.#kernel())])
  }
}
