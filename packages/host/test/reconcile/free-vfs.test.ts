import { formatVfId, type HostDevice, silentLogger, systemClock, type VfHealth } from '@cni-offload/sdk'
import { RepairLedger } from '@cni-offload/sdk/runtime'
import { describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { FreeVfs } from '../../src/reconcile/free-vfs.ts'
import { leaseOf, vfsOf } from '../support/row.ts'

const NEVER = new AbortController().signal
const RARE = { repairBurst: 1_000, repairEveryMs: 1, repairPauseMs: 0, repairPauseMaxMs: 0 }

describe('a free VF that was unhealthy and is well again', () => {
  const withdrawn = async () => {
    const journal = new SqliteJournal(':memory:', systemClock)
    journal.syncVfs(vfsOf(1))
    const [{ id }] = vfsOf(1) as [ReturnType<typeof vfsOf>[number]]
    const hardware = { health: 'unhealthy' as VfHealth, releasing: async (): Promise<void> => {} }
    const device: Partial<HostDevice> = {
      discover: async () => vfsOf(1).map((vf) => ({ ...vf, netdev: 'vf0', health: hardware.health })),
      release: () => hardware.releasing(),
    }
    const ledger = new RepairLedger({ clock: systemClock, limits: RARE, log: silentLogger })
    const free = new FreeVfs({ journal, device: device as HostDevice, ledger, limits: { undoMs: 60_000 }, log: silentLogger })
    for (let look = 0; look < 2; look++) await free.look(NEVER)
    const healthy = (): boolean | undefined => journal.vfs().find(({ vf }) => formatVfId(vf) === formatVfId(id))?.health === 'healthy'
    expect(healthy()).toBe(false)
    hardware.health = 'healthy'
    return { journal, id, hardware, look: () => free.look(NEVER), healthy }
  }

  it('is leased to nobody while it is brought home, although an event has called it healthy', async () => {
    const { journal, id, hardware, look, healthy } = await withdrawn()
    using _journal = journal
    journal.setHealth(id, 'healthy')
    const [begun, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    hardware.releasing = async () => {
      begun.resolve()
      await end.promise
    }
    const looking = look()
    await begun.promise
    journal.setHealth(id, 'healthy')
    journal.syncVfs(vfsOf(1))
    expect(() => journal.lease(leaseOf('a'))).toThrow(expect.objectContaining({ code: 'NO_FREE_VF' }))
    end.resolve()
    await looking
    expect(healthy()).toBe(true)
  })

  it('stays withdrawn when it fails while it is brought home', async () => {
    const { journal, hardware, look, healthy } = await withdrawn()
    using _journal = journal
    hardware.releasing = async () => void (hardware.health = 'unhealthy')
    await look()
    expect(healthy()).toBe(false)
    hardware.health = 'healthy'
    hardware.releasing = async () => {}
    await look()
    expect(healthy()).toBe(true)
  })
})

describe('a VF that is withheld, because nobody knows whose it is', () => {
  it('is left alone while it is away, and can be leased again soon after it has come home', async () => {
    using journal = new SqliteJournal(':memory:', systemClock)
    journal.syncVfs(vfsOf(1))
    const [{ id }] = vfsOf(1) as [ReturnType<typeof vfsOf>[number]]
    journal.withhold(id)
    let home = false
    const released: string[] = []
    const device: Partial<HostDevice> = {
      discover: async () => vfsOf(1).map(({ netdev: _netdev, ...vf }) => (home ? { ...vf, netdev: 'vf0' } : vf)),
      release: async (vf) => void released.push(formatVfId(vf)),
    }
    const ledger = new RepairLedger({ clock: systemClock, limits: RARE, log: silentLogger })
    const free = new FreeVfs({ journal, device: device as HostDevice, ledger, limits: { undoMs: 60_000 }, log: silentLogger })
    for (let look = 0; look < 3; look++) await free.look(NEVER)
    expect(released).toEqual([])
    home = true
    await free.look(NEVER)
    expect(() => journal.lease(leaseOf('a')), 'seen once').toThrow(expect.objectContaining({ code: 'NO_FREE_VF' }))
    await free.look(NEVER)
    expect(released).toEqual([formatVfId(id)])
    expect(journal.lease(leaseOf('a')).vf).toEqual(id)
  })
})
