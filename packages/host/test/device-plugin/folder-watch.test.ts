import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FolderWatch } from '../../src/device-plugin/folder-watch.ts'
import { Wake } from '../../src/device-plugin/wake.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fw-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Does something and waits until the watch has told of it, then looks where the folder is now. */
async function told(watch: FolderWatch, act: () => void): Promise<void> {
  const wake = new Wake()
  using _subscription = watch.changes.subscribe(() => wake.call())
  const timeout = AbortSignal.timeout(20_000)
  act()
  await wake.wait(timeout, systemClock)
  expect(timeout.aborted).toBe(false)
  expect(watch.arm()).toBe(true)
}

describe('FolderWatch', () => {
  it('follows a folder that is made, filled, replaced and made again, several levels deep', async () => {
    const folder = join(root, 'a', 'b', 'c')
    using watch = new FolderWatch(folder, silentLogger)
    expect(watch.arm()).toBe(true)
    await told(watch, () => mkdirSync(folder, { recursive: true }))
    await told(watch, () => writeFileSync(join(folder, 'file'), ''))
    await told(watch, () => renameSync(folder, join(root, 'old')))
    await told(watch, () => mkdirSync(folder, { recursive: true }))
    for (let round = 0; round < 20; round++) {
      // In one go, so that the new folder has the inode of the old one where the file system does that.
      await told(watch, () => {
        rmSync(folder, { recursive: true })
        mkdirSync(folder)
      })
      await told(watch, () => writeFileSync(join(folder, `file${round}`), ''))
    }
  })

  it('tells nothing after it was disposed', async () => {
    const watch = new FolderWatch(root, silentLogger)
    let count = 0
    watch.changes.subscribe(() => count++)
    watch.arm()
    watch[Symbol.dispose]()
    using other = new FolderWatch(root, silentLogger)
    other.arm()
    await told(other, () => writeFileSync(join(root, 'file'), ''))
    expect(count).toBe(0)
  })
})

describe('Wake', () => {
  const never = new AbortController().signal

  it('does not lose a call that comes before the wait, and counts many as one', async () => {
    const wake = new Wake()
    wake.call()
    wake.call()
    await wake.wait(never, systemClock)
    await expect(Promise.race([wake.wait(never, systemClock, 60_000), Promise.resolve('waits')])).resolves.toBe('waits')
    wake.call()
  })

  it('ends by a call, by the time, and by the signal', async () => {
    const wake = new Wake()
    const called = wake.wait(never, systemClock, 60_000)
    wake.call()
    await called
    await wake.wait(never, systemClock, 1)
    await wake.wait(AbortSignal.timeout(1), systemClock)
    await wake.wait(AbortSignal.abort(), systemClock)
  })
})
