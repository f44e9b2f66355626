/** A file, folder or link of an archive. */
export interface CpioEntry {
  /** Path without a slash in front; the folders that it is in have to come first. */
  readonly name: string
  /** What it is and who may use it, as `stat` says: 0o100755 is an executable file, 0o040755 a folder. */
  readonly mode: number
  /** What is in a file, or where a link points. */
  readonly data?: Uint8Array
}

/** An executable file. */
export const EXECUTABLE = 0o100755
/** A file. */
export const FILE = 0o100644
/** A folder. */
export const FOLDER = 0o040755

const END = 'TRAILER!!!'
const ALIGNMENT = 4

const padded = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)])

function record({ name, mode, data = new Uint8Array() }: CpioEntry, inode: number): Buffer {
  const path = Buffer.from(`${name}\0`)
  // inode, mode, uid, gid, links, time, size, two device numbers each of the archive and the entry, length of the name, checksum (unused)
  const numbers = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0]
  const header = `070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), path])), padded(data)])
}

/** An archive as the Linux kernel takes it for its first file system: the "newc" form of cpio. Everything in it belongs to root. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  return Buffer.concat([...entries, { name: END, mode: 0 }].map((entry, index) => record(entry, index + 1)))
}
