import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { type DeviceInfo, deviceInfo } from './device-info.ts'

/** Where the specification puts device information files. */
export const DEFAULT_DEVICE_INFO_DIR = '/var/run/k8s.cni.cncf.io/devinfo'

/** Who the files of a folder are for: `cni` between meta-plugin and CNI plugin, `dp` from a device plugin to the meta-plugin. */
export type DeviceInfoKind = 'cni' | 'dp'

/** A file name keeps 255 bytes; the name of a temporary file has to fit too. */
const LONGEST_NAME = 200

/** No device information is larger; a file that is was not written by anybody who keeps the specification. */
const LARGEST_FILE = 65_536

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/**
 * Device information files below one folder. They lie in `cni/` and `dp/` directly, and neither such a folder nor a file in
 * it is ever reached through a symbolic link.
 *
 * @see https://github.com/k8snetworkplumbingwg/device-info-spec/blob/main/SPEC.md
 */
export class DeviceInfoFiles {
  /** The folder. */
  readonly dir: string

  /** @param dir - absolute path; made when the first file is written */
  constructor(dir: string = DEFAULT_DEVICE_INFO_DIR) {
    this.dir = dir
  }

  /**
   * Name of the file by which a device plugin tells of one device. A "/" in either part becomes "-", as meta-plugins do it.
   */
  devicePluginFile(resourceName: string, deviceId: string): string {
    return `${resourceName}-${deviceId}-device.json`.replaceAll('/', '-')
  }

  /**
   * Name of the file that a runtime asks for by the capability argument `CNIDeviceInfoFile`.
   *
   * @throws OffloadError INVALID_NETCONF when the path is not that of a file directly in `cni/`
   */
  cniFile(path: string): string {
    const name = path.slice(path.lastIndexOf('/') + 1)
    if (dirname(path) !== join(this.dir, 'cni') || !isFileName(name))
      throw new OffloadError(
        'INVALID_NETCONF',
        `runtimeConfig.CNIDeviceInfoFile = ${JSON.stringify(path)}: not a file in ${this.dir}/cni`,
        {
          hint: 'The specification puts these files there; the setting deviceInfo.dir of the host daemon names another folder.',
        },
      )
    return name
  }

  /**
   * Writes a file whole or not at all, replacing one that is there; readers see either the old or the new content.
   *
   * @throws OffloadError IO_FAILURE naming the file
   */
  async write(kind: DeviceInfoKind, name: string, info: DeviceInfo): Promise<void> {
    await this.#guard('write', kind, name, async () => {
      await mkdir(this.dir, { recursive: true, mode: 0o755 })
      await mkdir(join(this.dir, kind), { mode: 0o755 }).catch(unless('EEXIST'))
      await using folder = await this.#folder(kind)
      const temporary = inFolder(folder, `${unfinished(name, info.pci?.['pci-address'])}${randomUUID()}`)
      try {
        await using file = await open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644)
        await file.writeFile(JSON.stringify(info))
        await rename(temporary, inFolder(folder, name))
      } catch (error) {
        await unlink(temporary).catch(() => {})
        throw error
      }
    })
  }

  /**
   * Reads a file.
   *
   * @returns undefined if there is none, and for anything that is not a regular file with device information
   * @throws OffloadError IO_FAILURE naming the file
   */
  async read(kind: DeviceInfoKind, name: string): Promise<DeviceInfo | undefined> {
    return await this.#guard('read', kind, name, async () => {
      try {
        await using folder = await this.#folder(kind)
        // A pipe must not keep us waiting.
        await using file = await open(inFolder(folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        const stat = await file.stat()
        return stat.isFile() && stat.size <= LARGEST_FILE ? decode(await file.readFile('utf8')) : undefined
      } catch (error) {
        return unless('ENOENT', 'ELOOP')(error)
      }
    })
  }

  /**
   * Removes a file; one that is not there is success. A symbolic link is removed, not what it points to.
   *
   * @throws OffloadError IO_FAILURE naming the file
   */
  async remove(kind: DeviceInfoKind, name: string): Promise<void> {
    await this.#guard('remove', kind, name, async () => {
      try {
        await using folder = await this.#folder(kind)
        await unlink(inFolder(folder, name))
      } catch (error) {
        unless('ENOENT')(error)
      }
    })
  }

  /**
   * Removes what a process that was killed while it wrote a file about a device has left. Only for whoever has the device and does not
   * write at the same time.
   *
   * @throws OffloadError IO_FAILURE naming the file
   */
  async removeUnfinished(kind: DeviceInfoKind, name: string, pciAddress: string | undefined): Promise<void> {
    await this.#guard('remove', kind, name, async () => {
      try {
        await using folder = await this.#folder(kind)
        const found = (await readdir(inFolder(folder, '.'))).filter((entry) => entry.startsWith(unfinished(name, pciAddress)))
        for (const entry of found) await unlink(inFolder(folder, entry)).catch(unless('ENOENT'))
      } catch (error) {
        unless('ENOENT')(error)
      }
    })
  }

  #folder(kind: DeviceInfoKind): Promise<FileHandle> {
    return open(join(this.dir, kind), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  }

  async #guard<T>(what: string, kind: DeviceInfoKind, name: string, work: () => Promise<T>): Promise<T> {
    const path = join(this.dir, kind, name)
    if (!isFileName(name))
      throw new OffloadError('IO_FAILURE', `cannot ${what} device information ${JSON.stringify(path)}: not a file name`)
    try {
      return await work()
    } catch (error) {
      throw OffloadError.from(error, 'IO_FAILURE', `cannot ${what} device information ${path}`)
    }
  }
}

/** A path that leads into the very folder that was opened, whatever has taken its place in the tree since. */
function inFolder(folder: FileHandle, name: string): string {
  return `/proc/self/fd/${folder.fd}/${name}`
}

/** What the names of a file begin with while it is being written. */
function unfinished(name: string, pciAddress: string | undefined): string {
  return `.${name}.${(pciAddress ?? '').replaceAll('/', '-')}.`
}

function isFileName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name) && Buffer.byteLength(name) <= LONGEST_NAME
}

function decode(text: string): DeviceInfo | undefined {
  try {
    return deviceInfo.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/** Swallows system errors of some codes, throws all others. */
function unless(...codes: readonly string[]): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof Error && 'code' in error && codes.includes(String(error.code))) return undefined
    throw error
  }
}
