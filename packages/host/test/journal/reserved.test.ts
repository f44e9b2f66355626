import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@cni-offload/sdk'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { end, leaseOf, vfsOf } from '../support/row.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'reserved-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))
const open = (vfs: number, reserved: readonly number[]): SqliteJournal => {
  const journal = new SqliteJournal(join(dir, 'journal.db'), systemClock)
  journal.reserve(reserved.map((index) => ({ device: 'dev0', index })))
  journal.syncVfs(vfsOf(vfs))
  return journal
}

describe('reserved VFs', () => {
  it('are leased only to who names them', () => {
    using journal = open(3, [0, 2])
    expect(journal.lease(leaseOf('a')).vf.index).toBe(1)
    expect(() => journal.lease(leaseOf('b'))).toThrow(
      expect.objectContaining({
        code: 'NO_FREE_VF',
        message: 'no VF is free: 1 leased, 0 quarantined, 0 unhealthy, 2 kept for others',
      }),
    )
    expect(journal.lease(leaseOf('b', { deviceId: '0000:01:00.2' })).vf.index).toBe(2)
    expect(journal.lease(leaseOf('c', { deviceId: 'dev0/0' })).vf.index).toBe(0)
  })

  it('stay reserved when they are given back, unhealthy for a while, or found again', () => {
    using journal = open(2, [0])
    const { key } = journal.lease(leaseOf('a', { deviceId: '0000:01:00.0' }))
    end(journal, key)
    journal.setHealth({ device: 'dev0' }, 'unhealthy')
    journal.syncVfs(vfsOf(2))
    expect(journal.lease(leaseOf('b')).vf.index).toBe(1)
    expect(() => journal.lease(leaseOf('c'))).toThrow(expect.objectContaining({ code: 'NO_FREE_VF' }))
  })

  it('are those of the newest configuration, and of none once the journal is opened anew', () => {
    using journal = open(2, [0, 1])
    journal.reserve([{ device: 'dev0', index: 1 }])
    expect(journal.vfs().map(({ reserved }) => reserved)).toEqual([false, true])
    journal[Symbol.dispose]()
    using again = new SqliteJournal(join(dir, 'journal.db'), systemClock)
    expect(again.vfs().map(({ reserved }) => reserved)).toEqual([false, false])
  })

  it('never go to others, whatever is leased and freed in whatever order', () => {
    const step = fc.record({ named: fc.boolean(), pick: fc.nat(7), free: fc.boolean() })
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(5), { maxLength: 6 }), fc.array(step, { maxLength: 30 }), (reserved, steps) => {
        using journal = open(6, reserved)
        const held: ReturnType<SqliteJournal['lease']>[] = []
        for (const [number, { named, pick, free }] of steps.entries()) {
          if (free && held.length > 0) {
            const [row] = held.splice(pick % held.length, 1)
            end(journal, row!.key)
            continue
          }
          const openVfs = journal.vfs().filter(({ state, reserved: kept }) => state === 'free' && !kept).length
          try {
            const row = journal.lease(leaseOf(`p${number}`, named ? { deviceId: `dev0/${pick % 6}` } : {}))
            if (named) expect(row.vf.index).toBe(pick % 6)
            else expect(reserved).not.toContain(row.vf.index)
            held.push(row)
          } catch (error) {
            expect(error).toMatchObject({ code: 'NO_FREE_VF' })
            if (!named) expect(openVfs).toBe(0)
          }
        }
        for (const { key } of held) end(journal, key)
      }),
      { numRuns: 40 },
    )
  })
})
