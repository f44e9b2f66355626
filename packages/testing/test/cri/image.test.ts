import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec } from '@cni-offload/testing'
import { makeTestImage, missingForPods, TEST_IMAGE } from '@cni-offload/testing/cri'
import { expect, test } from 'vitest'

const missing = await missingForPods()

test.skipIf(missing !== undefined)(`the image is an archive that a runtime can load (${missing ?? 'needs busybox-static'})`, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'cni-offload-image-test-'))
  try {
    await makeTestImage(join(dir, 'image.tar'))
    expect((await exec(['tar', '-C', dir, '-xf', join(dir, 'image.tar')])).code).toBe(0)
    const json = async (name: string): Promise<any> => JSON.parse(await readFile(join(dir, name), 'utf8'))
    expect(await json('manifest.json')).toEqual([{ Config: 'config.json', RepoTags: [TEST_IMAGE], Layers: ['layer.tar'] }])
    const digest = createHash('sha256')
      .update(await readFile(join(dir, 'layer.tar')))
      .digest('hex')
    expect((await json('config.json')).rootfs).toEqual({ type: 'layers', diff_ids: [`sha256:${digest}`] })
    const { stdout } = await exec(['tar', '-tvf', join(dir, 'layer.tar')])
    expect(stdout).toMatch(/\.\/bin\/sh -> busybox/)
    expect(stdout).toMatch(/-rwxr-xr-x 0\/0 .* \.\/bin\/busybox/)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
