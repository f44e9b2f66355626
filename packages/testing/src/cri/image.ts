import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { exec } from '../net/exec.ts'

/** A statically linked busybox: all programs of the test image in one file. */
export const BUSYBOX: string = '/bin/busybox'

/** Reference of the image that {@link makeTestImage} makes. Its command sleeps, so that it serves as the sandbox image, too. */
export const TEST_IMAGE: string = 'cni-offload.test/busybox:1'

/**
 * Makes an image archive (the format of `docker save`) with busybox and nothing else, without any image tool or registry.
 *
 * @param out - path of the archive
 * @throws OffloadError IO_FAILURE if busybox or tar fail
 */
export async function makeTestImage(out: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'cni-offload-image-'))
  try {
    const root = join(work, 'root')
    for (const folder of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root']) await mkdir(join(root, folder), { recursive: true })
    await copyFile(BUSYBOX, join(root, 'bin', 'busybox'))
    for (const applet of (await run([BUSYBOX, '--list'])).trim().split('\n'))
      if (applet !== 'busybox') await symlink('busybox', join(root, 'bin', applet))
    await writeFile(join(root, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
    await archive(join(work, 'layer.tar'), root, ['.'])
    const diffId = createHash('sha256')
      .update(await readFile(join(work, 'layer.tar')))
      .digest('hex')
    const json = async (name: string, value: object): Promise<void> => await writeFile(join(work, name), JSON.stringify(value))
    await json('config.json', {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: ['PATH=/bin'], Cmd: ['/bin/sleep', '2147483647'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
    })
    await json('manifest.json', [{ Config: 'config.json', RepoTags: [TEST_IMAGE], Layers: ['layer.tar'] }])
    await archive(out, work, ['manifest.json', 'config.json', 'layer.tar'])
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function archive(out: string, folder: string, names: readonly string[]): Promise<void> {
  await run(['tar', '--owner=0', '--group=0', '--numeric-owner', '-C', folder, '-cf', out, ...names])
}

async function run(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await exec(argv)
  if (code !== 0) throw new OffloadError('IO_FAILURE', `${argv.join(' ')} exited with ${code}: ${stderr.trim()}`)
  return stdout
}
