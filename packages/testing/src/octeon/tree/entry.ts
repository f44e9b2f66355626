/** Done at once, or later. */
export type Awaitable<T> = T | Promise<T>

/** A file. Without `read` or `write` it has no permission for that, which the kernel's files deny to root, too. */
export interface FileEntry {
  readonly kind: 'file'
  /** Its text at this moment. */
  readonly read?: () => Awaitable<string>
  /** Takes what one write has brought. @throws Refusal when the kernel does not want it */
  readonly write?: (text: string) => Awaitable<void>
}

/** A symbolic link. */
export interface LinkEntry {
  readonly kind: 'link'
  /** As it is written there. */
  readonly target: string
}

/** A folder. */
export interface FolderEntry {
  readonly kind: 'folder'
  /** What is in it at this moment. */
  entries(): Awaitable<ReadonlyMap<string, Entry>>
  /** The same for one name, where all others take more time than that. */
  readonly entry?: (name: string) => Entry | undefined
}

/** What can be found under a path. */
export type Entry = FileEntry | LinkEntry | FolderEntry

/** Entries by name, before they are put into a folder; those that are undefined do not exist at the moment. */
export type Entries = Readonly<Record<string, Entry | undefined>>

/** A file of the kernel that can be read only. */
export function readable(read: string | (() => Awaitable<string>)): FileEntry {
  return { kind: 'file', read: typeof read === 'string' ? () => read : read }
}

/** A file of the kernel that can be written only. */
export function writable(write: (text: string) => Awaitable<void>): FileEntry {
  return { kind: 'file', write: notEmpty(write) }
}

/** A file of the kernel that can be read and written. */
export function attribute(read: () => Awaitable<string>, write: (text: string) => Awaitable<void>): FileEntry {
  return { kind: 'file', read, write: notEmpty(write) }
}

/** A symbolic link. */
export function link(target: string): LinkEntry {
  return { kind: 'link', target }
}

/** A folder whose entries are made anew whenever somebody looks. @param entry - the one of a name, for folders with many that are looked into often */
export function folder(entries: () => Awaitable<Entries>, entry?: (name: string) => Entry | undefined): FolderEntry {
  return { kind: 'folder', entries: async () => present(await entries()), ...(entry === undefined ? {} : { entry }) }
}

function present(entries: Entries): ReadonlyMap<string, Entry> {
  const found = new Map<string, Entry>()
  for (const [name, entry] of Object.entries(entries)) if (entry !== undefined) found.set(name, entry)
  return found
}

/** The kernel does not tell an attribute of a write of nothing. */
const notEmpty =
  (write: (text: string) => Awaitable<void>) =>
  (text: string): Awaitable<void> =>
    text === '' ? undefined : write(text)
