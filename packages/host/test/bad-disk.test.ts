import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '@cni-offload/testing'
import { TinyDisk } from '@cni-offload/testing/faults'
import { describe, expect, it } from 'vitest'
import { eventually, HostLab } from './support/lab.ts'

describe.skipIf(process.getuid?.() !== 0)('a daemon whose disk is in no order (needs root: makes mounts and network namespaces)', () => {
  it('full: it says so and touches nothing, and starts with all that it had once there is room', async () => {
    await using disk = await TinyDisk.mount()
    const stateDir = join(disk.path, 'state')
    await using lab = await HostLab.make({ vfs: 1, host: { stateDir } })
    disk.fill()
    const full = { code: 'JOURNAL_FAILURE', hint: expect.stringContaining('The disk is full: free some space') }
    await expect(lab.startHost(), 'for the first time').rejects.toMatchObject(full)
    disk.free()
    await lab.startHost()
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    const before = await lab.net.link(pod.path, 'eth0')
    await lab.stopHost()
    disk.fill()
    await expect(lab.startHost(), 'with a pod').rejects.toMatchObject(full)
    expect(await lab.net.link(pod.path, 'eth0')).toEqual(before)
    disk.free()
    await lab.startHost()
    expect((await lab.inspect()).attachments).toMatchObject([{ key: { containerId: pod.containerId }, phase: 'wired' }])
    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.remains()).toEqual([])
  }, 60_000)

  it('full, and its journal cannot be read: nothing is forgotten until there is room', async () => {
    await using disk = await TinyDisk.mount()
    const stateDir = join(disk.path, 'state')
    await using lab = await HostLab.start({ vfs: 2, host: { stateDir } })
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    const before = await lab.net.link(pod.path, 'eth0')
    await lab.stopHost()
    writeFileSync(join(stateDir, 'journal.db'), 'x'.repeat(8192))
    disk.fill()
    await expect(lab.startHost()).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
    disk.free()
    await lab.startHost()
    await eventually(async () => (await lab.inspect()).attachments.length === 1, 'the agent has told of it')
    expect(await lab.net.link(pod.path, 'eth0')).toEqual(before)
    expect(readdirSync(stateDir).some((name) => name.startsWith('journal.db.unreadable-'))).toBe(true)
    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  }, 60_000)

  it('read-only: it says so, and leaves the journal as it is', async () => {
    await using disk = await TinyDisk.mount()
    const stateDir = join(disk.path, 'state')
    await using lab = await HostLab.start({ vfs: 1, host: { stateDir } })
    await lab.stopHost()
    const file = join(stateDir, 'journal.db')
    const bytes = readFileSync(file)
    const remount = async (mode: 'ro' | 'rw'): Promise<void> =>
      expect(await exec(['mount', '-o', `remount,${mode}`, disk.path])).toMatchObject({ code: 0 })
    await remount('ro')
    await expect(lab.startHost()).rejects.toMatchObject({ code: 'JOURNAL_FAILURE', hint: 'Is the folder writable, and the disk in order?' })
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(existsSync(`${file}.rebuilding`)).toBe(false)
    await remount('rw')
    await lab.startHost()
    expect((await lab.inspect()).leases).toMatchObject([{ state: 'free' }])
  }, 60_000)
})
