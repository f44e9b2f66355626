import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { exec } from '../net/exec.ts'
import { BUSYBOX } from './image.ts'

/** Programs of one version of containerd. */
export interface ContainerdBinaries {
  /** Path of `containerd`. */
  readonly containerd: string
  /** Folder of `containerd`, `ctr` and the shims. */
  readonly folder: string
}

/**
 * The containerd in a folder, or the one of the machine.
 *
 * @param folder - where to look; `PATH` by default
 * @returns undefined if there is none
 */
export async function findContainerd(folder?: string): Promise<ContainerdBinaries | undefined> {
  for (const at of folder === undefined ? (process.env['PATH'] ?? '').split(delimiter) : [folder]) {
    const containerd = join(at, 'containerd')
    if (await executable(containerd)) return { containerd, folder: at }
  }
  return undefined
}

/** What a test with containerd needs besides containerd and is not there, with the remedy; undefined if all is there. */
export async function missingForPods(): Promise<string | undefined> {
  if (!(await anyOf(['/usr/sbin/runc', '/usr/bin/runc', '/usr/local/bin/runc', '/usr/local/sbin/runc'])))
    return 'runc is missing: apt-get install runc'
  if (!(await executable(BUSYBOX))) return `${BUSYBOX} is missing: apt-get install busybox-static`
  // ldd succeeds for what is linked to libraries, which a container made of one file does not have.
  const { code } = await exec(['ldd', BUSYBOX])
  return code === 0 ? `${BUSYBOX} needs libraries: apt-get install busybox-static` : undefined
}

async function anyOf(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if (await executable(path)) return true
  return false
}

async function executable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
