import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { exec } from '../net/exec.ts'

const FILLER = '.filler'
const BLOCK = 4096

/** A small disk of a test's own that can be filled to the last block. */
export class TinyDisk implements AsyncDisposable {
  /** Its folder; everything below it is on the disk. */
  readonly path: string
  readonly #parent: string

  private constructor(parent: string, path: string) {
    this.#parent = parent
    this.path = path
  }

  /**
   * Mounts it in a new folder of mode 0700.
   *
   * @param kib - size in KiB, from 64
   * @throws OffloadError PERMISSION_DENIED where mounting is not possible, saying why
   */
  static async mount(kib: number = 2_048): Promise<TinyDisk> {
    const parent = await mkdtemp(join(tmpdir(), 'tiny-disk-'))
    const path = join(parent, 'disk')
    await mkdir(path, { mode: 0o700 })
    const { code, stderr } = await exec(['mount', '-t', 'tmpfs', '-o', `size=${kib}k,mode=0700,nosuid,nodev`, 'tiny-disk', path])
    if (code === 0) return new TinyDisk(parent, path)
    await rm(parent, { recursive: true })
    throw new OffloadError('PERMISSION_DENIED', `no disk can be mounted on ${path}: ${stderr.trim()}`, {
      hint: 'It needs root; in a container, the capability SYS_ADMIN.',
    })
  }

  /** Fills it: from now on every write that needs a new block fails with ENOSPC. */
  fill(): void {
    const fd = openSync(join(this.path, FILLER), 'a', 0o600)
    try {
      for (;;) writeSync(fd, Buffer.alloc(BLOCK))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
    } finally {
      closeSync(fd)
    }
  }

  /** Gives back what {@link TinyDisk.fill} has taken. */
  free(): void {
    rmSync(join(this.path, FILLER), { force: true })
  }

  /** Takes it away, whoever still uses it, with all that is on it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { code, stderr } = await exec(['umount', '--lazy', this.path])
    if (code !== 0) throw new OffloadError('IO_FAILURE', `${this.path} cannot be unmounted: ${stderr.trim()}`)
    await rm(this.#parent, { recursive: true, force: true })
  }
}
