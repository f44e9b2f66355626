import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { systemClock } from '@cni-offload/sdk'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { leaseOf, RESULT, vfsOf } from '../support/row.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const file = (): string => join(dir, 'state', 'host.db')
const open = (vfs = 2): SqliteJournal => {
  const journal = new SqliteJournal(file(), systemClock)
  journal.syncVfs(vfsOf(vfs))
  return journal
}
const LATER = { release: false, detach: true, reason: 'agent away' }

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
    journal.free(first.key)
    expect(['b', 'c', 'd'].map((name) => journal.lease(leaseOf(name)).vf.index)).toEqual([1, 2, 0])
  })

  it('gives the very VF that a device plugin has chosen, or none', () => {
    using journal = open()
    expect(journal.lease(leaseOf('a', { pciAddress: '0000:01:00.1' })).vf.index).toBe(1)
    expect(() => journal.lease(leaseOf('b', { pciAddress: '0000:01:00.1' }))).toThrow(
      expect.objectContaining({ code: 'NO_FREE_VF', message: expect.stringContaining('leased') }),
    )
    expect(() => journal.lease(leaseOf('b', { pciAddress: '0000:09:00.0' }))).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF' }))
    expect(journal.get(leaseOf('b').intent.key)).toBeUndefined()
  })

  it('leases nothing unhealthy', () => {
    using journal = open()
    journal.setHealth({ device: 'dev0', index: 0 }, 'unhealthy')
    expect(journal.lease(leaseOf('a')).vf.index).toBe(1)
    journal.free(leaseOf('a').intent.key)
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
    const { key, vf } = journal.lease(leaseOf('a'))
    journal.attached(key, RESULT)
    journal.wired(key)
    journal.detaching(key)
    journal.quarantine(key, LATER)
    expect(journal.get(key)).toBeUndefined()
    const [row] = journal.queued(key)
    expect(row).toMatchObject({ key, vf, ...LATER, netns: '/run/netns/a', netnsIdentity: '4:a' })
    expect(journal.vfs()).toMatchObject([{ state: 'quarantined', key }])
    expect(() => journal.lease(leaseOf('b'))).toThrow('1 quarantined')
    journal.progress(row!.seq, { release: false, detach: true, reason: 'still away' })
    expect(journal.queue()).toMatchObject([{ reason: 'still away' }])
    journal.finish(row!.seq)
    journal.finish(row!.seq)
    expect(journal.lease(leaseOf('b')).vf).toEqual(vf)
  })

  it('has everything again after it was opened anew, also when it was never closed', () => {
    const crashed = open()
    const { key } = crashed.lease(leaseOf('a'))
    crashed.attached(key, RESULT)
    const second = crashed.lease(leaseOf('b'))
    crashed.quarantine(second.key, LATER)
    using journal = new SqliteJournal(file(), systemClock)
    expect(journal.all()).toMatchObject([{ key, phase: 'attached', result: RESULT, intent: leaseOf('a').intent }])
    expect(journal.queue()).toMatchObject([LATER])
    crashed[Symbol.dispose]()
  })

  it('undoes a lease whose transaction was interrupted', () => {
    using journal = open(1)
    const intruder = new DatabaseSync(file())
    intruder.exec('BEGIN IMMEDIATE')
    intruder.exec("UPDATE vfs SET state = 'leased'")
    intruder.close()
    expect(journal.lease(leaseOf('a')).vf.index).toBe(0)
  })

  it('never gives a VF to two of 32 racing leases of several connections', async () => {
    open(20)[Symbol.dispose]()
    const workers = Array.from({ length: 4 }, (_, worker) => {
      const names = Array.from({ length: 8 }, (_unused, n) => `w${worker}x${n}`)
      return new Worker(new URL('../support/race-worker.ts', import.meta.url), { workerData: { file: file(), names } })
    })
    const outcomes = await Promise.all(
      workers.map(async (worker) => ((await once(worker, 'message')) as { got: number[]; refused: number }[])[0]!),
    )
    const got = outcomes.flatMap((outcome) => outcome.got)
    expect(got.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(outcomes.reduce((sum, { refused }) => sum + refused, 0)).toBe(12)
    using journal = new SqliteJournal(file(), systemClock)
    expect(journal.counts().vfs).toMatchObject({ free: 0, leased: 20 })
  })

  it('finds attachments of a network by phase', () => {
    using journal = open(3)
    for (const name of ['a', 'b', 'c']) journal.lease(leaseOf(name))
    journal.wired(leaseOf('b').intent.key)
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

  it('refuses files that are no journal or come from a newer daemon', () => {
    open()[Symbol.dispose]()
    const db = new DatabaseSync(file())
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(() => new SqliteJournal(file(), systemClock)).toThrow(
      expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining('schema version 99') }),
    )
    const garbage = join(dir, 'garbage.db')
    writeFileSync(garbage, 'x'.repeat(8192))
    expect(() => new SqliteJournal(garbage, systemClock)).toThrow(
      expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining(garbage) }),
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
              if (what === 'wired') held.set(name, (journal.wired(key), 'wired'))
              else held.delete(name)
              if (what === 'free') journal.free(key)
              if (what === 'quarantine') quarantined.push((journal.quarantine(key, LATER), name))
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
