import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { systemClock } from '@cni-offload/sdk'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { end, endPartly, leaseOf, RESULT, vfsOf, wire } from '../support/row.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const file = (): string => join(dir, 'state', 'journal.db')
const open = (vfs = 2): SqliteJournal => {
  const journal = new SqliteJournal(file(), systemClock)
  journal.syncVfs(vfsOf(vfs))
  return journal
}
const LATER = { release: false, detach: true, reason: 'agent away' }

/** A process that has the journal open and has written to it. */
async function holderOf(path: string): Promise<{ holder: ChildProcess; died: Promise<unknown> }> {
  const script = fileURLToPath(new URL('../support/journal-holder.ts', import.meta.url))
  const holder = spawn(process.execPath, [script, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const died = once(holder, 'exit')
  const [said] = (await Promise.race([once(holder.stdout, 'data'), died])) as [unknown]
  if (String(said) !== 'held') throw new Error(`the holder ended: ${String(said)}`)
  return { holder, died }
}

describe('SqliteJournal', () => {
  it('leases each VF once, then says what is taken', () => {
    using journal = open()
    const [a, b] = [journal.lease(leaseOf('a')), journal.lease(leaseOf('b'))]
    expect([a.vf.index, b.vf.index].toSorted()).toEqual([0, 1])
    expect(() => journal.lease(leaseOf('c'))).toThrow(
      expect.objectContaining({ code: 'NO_FREE_VF', message: 'no VF is free: 2 leased, 0 quarantined, 0 unhealthy' }),
    )
    expect(() => journal.lease(leaseOf('a'))).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }))
    expect(journal.counts()).toEqual({ vfs: { free: 0, leased: 2, quarantined: 0, unhealthy: 0 }, queue: 0 })
  })

  it('returns from lease what get finds later', () => {
    using journal = open()
    const row = journal.lease(leaseOf('a'))
    expect(journal.get(row.key)).toEqual(row)
    expect(row).toMatchObject({
      phase: 'leased',
      vfMac: '02:00:00:00:00:00',
      pciAddress: '0000:01:00.0',
      netns: '/run/netns/a',
      netnsIdentity: '4:a',
      bootId: 'boot-1',
    })
  })

  it('gives the VF that was given back longest ago', () => {
    using journal = open(3)
    const first = journal.lease(leaseOf('a'))
    end(journal, first.key)
    expect(['b', 'c', 'd'].map((name) => journal.lease(leaseOf(name)).vf.index)).toEqual([1, 2, 0])
  })

  it('gives the very VF that a device plugin has chosen, or none', () => {
    using journal = open()
    expect(journal.lease(leaseOf('a', { deviceId: '0000:01:00.1' })).vf.index).toBe(1)
    expect(() => journal.lease(leaseOf('b', { deviceId: '0000:01:00.1' }))).toThrow(
      expect.objectContaining({ code: 'NO_FREE_VF', message: expect.stringContaining('leased') }),
    )
    expect(() => journal.lease(leaseOf('b', { deviceId: '0000:09:00.0' }))).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF' }))
    expect(journal.get(leaseOf('b').intent.key)).toBeUndefined()
  })

  it('names who has the VF that a device plugin has chosen, also while it is quarantined', () => {
    using journal = open()
    const { key } = journal.lease(leaseOf('a', { deviceId: 'dev0/1' }))
    const refused = (): string => {
      try {
        journal.lease(leaseOf('b', { deviceId: 'dev0/1' }))
        return 'leased'
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(refused()).toBe('deviceID = "dev0/1": VF dev0/1 is leased, attachment net/a/eth0')
    endPartly(journal, key, LATER)
    expect(refused()).toBe('deviceID = "dev0/1": VF dev0/1 is quarantined, attachment net/a/eth0')
    journal.finish(journal.queued(key)[0]!.seq)
    journal.setHealth({ device: 'dev0', index: 1 }, 'unhealthy')
    expect(refused()).toBe('deviceID = "dev0/1": VF dev0/1 is unhealthy')
    journal.setHealth({ device: 'dev0', index: 1 }, 'healthy')
    expect(refused()).toBe('leased')
    expect(journal.lease(leaseOf('c', { deviceId: '0000:01:00.0'.toUpperCase() })).vf.index).toBe(0)
  })

  it('gives eligible VFs only, and says what keeps others', () => {
    using journal = open(3)
    const eligible = ({ index }: { index: number }): boolean => index === 1
    expect(journal.lease(leaseOf('a', { eligible })).vf.index).toBe(1)
    expect(() => journal.lease(leaseOf('b', { eligible }))).toThrow(
      expect.objectContaining({
        code: 'NO_FREE_VF',
        message: 'no VF is free: 1 leased, 0 quarantined, 0 unhealthy, 2 kept for others',
      }),
    )
    expect(() => journal.lease(leaseOf('b', { eligible, deviceId: 'dev0/2' }))).toThrow(
      expect.objectContaining({ code: 'INVALID_NETCONF', message: expect.stringContaining('VF dev0/2 is kept for others') }),
    )
    expect(journal.lease(leaseOf('b')).vf.index).toBe(0)
  })

  it('leases nothing unhealthy', () => {
    using journal = open()
    journal.setHealth({ device: 'dev0', index: 0 }, 'unhealthy')
    expect(journal.lease(leaseOf('a')).vf.index).toBe(1)
    end(journal, leaseOf('a').intent.key)
    journal.setHealth({ device: 'dev0' }, 'unhealthy')
    expect(() => journal.lease(leaseOf('a'))).toThrow('0 leased, 0 quarantined, 2 unhealthy')
    journal.syncVfs(vfsOf(1))
    expect(journal.vfs().map(({ health }) => health)).toEqual(['healthy', 'unhealthy'])
  })

  it('keeps state and lease of a VF when the hardware is looked at again', () => {
    using journal = open()
    const { key } = journal.lease(leaseOf('a'))
    journal.syncVfs(vfsOf(3))
    expect(journal.vfs()).toMatchObject([{ state: 'leased', key }, { state: 'free' }, { state: 'free' }])
  })

  it('quarantines a VF with what is left to do, and frees it only when that is done', () => {
    using journal = open(1)
    const { key, vf } = wire(journal, leaseOf('a'))
    endPartly(journal, key, LATER)
    expect(journal.get(key)).toBeUndefined()
    const [row] = journal.queued(key)
    expect(row).toMatchObject({ key, vf, ...LATER, netns: '/run/netns/a', netnsIdentity: '4:a' })
    expect(journal.vfs()).toMatchObject([{ state: 'quarantined', key }])
    expect(() => journal.lease(leaseOf('b'))).toThrow('1 quarantined')
    journal.progress(row!.seq, { release: false, detach: true, reason: 'still away' })
    expect(journal.queue()).toMatchObject([{ reason: 'still away' }])
    journal.finish(row!.seq)
    expect(journal.lease(leaseOf('b')).vf).toEqual(vf)
  })

  it('belongs to one process until that dies, and then has everything that it had written', async () => {
    const { holder, died } = await holderOf(file())
    const stateDir = join(dir, 'state')
    expect(() => new SqliteJournal(file(), systemClock)).toThrow(
      expect.objectContaining({
        code: 'JOURNAL_FAILURE',
        message: `stateDir = ${stateDir}: another host daemon runs on it and holds ${file()}`,
        hint: expect.stringContaining('Stop the other host daemon'),
      }),
    )
    holder.kill('SIGKILL')
    await died
    using journal = new SqliteJournal(file(), systemClock)
    const { intent } = leaseOf('a')
    expect(journal.all()).toMatchObject([{ key: intent.key, phase: 'attached', result: RESULT, intent }])
    expect(journal.queue()).toMatchObject([{ release: false, detach: true, reason: 'agent away' }])
  })

  it('belongs to one daemon of a process, too', () => {
    using journal = open()
    expect(() => new SqliteJournal(file(), systemClock)).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE' }))
    expect(journal.lease(leaseOf('a')).phase, 'the first one is not harmed').toBe('leased')
    expect(() => new SqliteJournal(file(), systemClock), 'nor is its lock').toThrow('another host daemon')
  })

  it('undoes a lease whose transaction was interrupted', () => {
    open(1)[Symbol.dispose]()
    const interrupted = new DatabaseSync(file())
    interrupted.exec('BEGIN IMMEDIATE')
    interrupted.exec("UPDATE vfs SET state = 'leased'")
    interrupted.close()
    using journal = new SqliteJournal(file(), systemClock)
    expect(journal.lease(leaseOf('a')).vf.index).toBe(0)
  })

  it('finds attachments of a network by phase', () => {
    using journal = open(3)
    wire(journal, leaseOf('b'))
    for (const name of ['a', 'c']) journal.lease(leaseOf(name))
    expect(journal.keysOf('net', ['wired']).map(({ containerId }) => containerId)).toEqual(['b'])
    expect(journal.keysOf('net', ['leased', 'wired'])).toHaveLength(3)
    expect(journal.keysOf('other', ['leased', 'wired'])).toEqual([])
  })

  it('says so when an attachment has vanished', () => {
    using journal = open()
    const { key } = leaseOf('a').intent
    for (const change of [
      () => journal.attached(key, RESULT),
      () => journal.wired(key),
      () => journal.detaching(key),
      () => journal.free(key),
      () => journal.quarantine(key, LATER),
    ])
      expect(change).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE' }))
  })

  it('refuses a file of a newer daemon and leaves it alone', () => {
    open()[Symbol.dispose]()
    const db = new DatabaseSync(file())
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(() => new SqliteJournal(file(), systemClock)).toThrow(
      expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining('schema version 99') }),
    )
  })

  it('is in step with a simple model, whatever happens in which order', () => {
    const names = ['a', 'b', 'c', 'd']
    const step = fc.record({
      what: fc.constantFrom('lease', 'wired', 'free', 'quarantine', 'finish', 'reopen'),
      name: fc.constantFrom(...names),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        rmSync(join(dir, 'state'), { recursive: true, force: true })
        let journal = open(3)
        const held = new Map<string, string>()
        const quarantined: string[] = []
        try {
          for (const { what, name } of steps) {
            const { key } = leaseOf(name).intent
            if (what === 'lease') {
              const possible = !held.has(name) && held.size + quarantined.length < 3
              if (possible) held.set(name, (journal.lease(leaseOf(name)), 'leased'))
              else expect(() => journal.lease(leaseOf(name))).toThrow()
            } else if (what === 'reopen') {
              journal[Symbol.dispose]()
              journal = new SqliteJournal(file(), systemClock)
            } else if (what === 'finish') {
              const [row] = journal.queue()
              if (row !== undefined) journal.finish(row.seq)
              expect(row?.key.containerId).toBe(quarantined.shift())
            } else if (held.has(name)) {
              if (what === 'wired') {
                if (held.get(name) === 'leased') {
                  journal.attached(key, RESULT)
                  journal.wired(key)
                }
                held.set(name, 'wired')
              } else held.delete(name)
              if (what === 'free') end(journal, key)
              if (what === 'quarantine') quarantined.push((endPartly(journal, key, LATER), name))
            }
            expect(new Map(journal.all().map((row) => [row.key.containerId, row.phase as string]))).toEqual(new Map([...held].toSorted()))
            expect(journal.counts()).toMatchObject({
              vfs: { free: 3 - held.size - quarantined.length, leased: held.size, quarantined: quarantined.length },
              queue: quarantined.length,
            })
            expect(new Set(journal.vfs().flatMap((vf) => (vf.key === undefined ? [] : [vf.key.containerId]))).size).toBe(
              new Set([...held.keys(), ...quarantined]).size,
            )
          }
        } finally {
          journal[Symbol.dispose]()
        }
      }),
      { numRuns: 40 },
    )
  })
})
