import { describe, expect, it } from 'vitest'
import { FakeOcteonCard } from '../../src/octeon/index.ts'
import { ManualClock } from '../cilium/clock.ts'
import { dmesg, driverOf, PF, run, vfCount } from './support.ts'

const WINDOW_MS = 20_000

describe('a host whose control agent is gone', () => {
  it('closes its interface with the upstream driver, and opens it when it is told to', async () => {
    const clock = new ManualClock()
    await using card = await FakeOcteonCard.create({ clock })
    expect(await card.host.read(`${PF}/net/enp1s0/operstate`)).toBe('up\n')
    card.control.agentEnded()
    expect(card.control.firmwareReady).toBe(true)
    await expect.poll(() => clock.sleeping).toBe(1)
    clock.advance(WINDOW_MS - 1)
    expect(clock.sleeping).toBe(1)
    clock.advance(1)
    await expect.poll(() => dmesg(card.host)).toContain('octeon_ep 0000:01:00.0: Missed 20 heartbeats. Uninitializing\n')
    await expect.poll(() => card.host.read(`${PF}/net/enp1s0/flags`)).toBe('0x1002\n')
    expect(await card.host.list(`${PF}/virtfn3/net`)).toEqual(['enp1s0v3'])
  })

  it('loses its carrier with the driver out of tree', async () => {
    const clock = new ManualClock()
    await using card = await FakeOcteonCard.create({ clock, hostDriver: 'out-of-tree' })
    card.control.agentEnded()
    await expect.poll(() => clock.sleeping).toBe(1)
    clock.advance(WINDOW_MS)
    await expect.poll(() => dmesg(card.host)).toContain('Missed 20 heartbeats. carrier off\n')
    await expect.poll(() => card.host.read(`${PF}/net/enp1s0/carrier`)).toBe('0\n')
    expect(await card.host.read(`${PF}/net/enp1s0/flags`)).toBe('0x1003\n')
  })

  it('goes on as long as they come', async () => {
    const clock = new ManualClock()
    await using card = await FakeOcteonCard.create({ clock })
    card.control.agentEnded()
    for (let beat = 0; beat < 3; beat += 1) {
      await expect.poll(() => clock.sleeping).toBe(1)
      clock.advance(WINDOW_MS - 1)
      card.control.beat()
      clock.advance(1)
    }
    await expect.poll(() => clock.sleeping).toBe(1)
    expect(await dmesg(card.host)).not.toContain('Missed')
  })
})

describe('a host that resets the link', () => {
  it.each([true, false])('has its steady agent back only if the link comes back: %s', async (comesBack) => {
    await using card = await FakeOcteonCard.create()
    card.perst(comesBack)
    const { firmwareReady, answering, steady } = card.control
    expect([firmwareReady, answering, steady]).toEqual([comesBack, comesBack, comesBack])
  })
})

describe('a host whose firmware is not ready', () => {
  it('defers the upstream driver until it is told to try', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', agent: 'none' })
    await run(card.host, 'modprobe', 'octeon_ep')
    expect(await dmesg(card.host)).toContain('octeon_ep 0000:01:00.0: Firmware not ready; defer probe.\n')
    expect(await card.host.read('/sys/kernel/debug/devices_deferred')).toBe('0000:01:00.0\t\n')
    card.control.runSteadily()
    expect(await driverOf(card.host, PF)).toBeUndefined()
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:01:00.0')
    expect(await driverOf(card.host, PF)).toBe('octeon_ep')
    expect(await card.host.read('/sys/kernel/debug/devices_deferred')).toBe('')
  })
})

describe('a host whose firmware becomes ready', () => {
  it('binds the upstream driver when another one has got something', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', agent: 'none' })
    await run(card.host, 'modprobe', 'octeon_ep')
    card.control.runSteadily()
    await card.host.write('/sys/bus/pci/drivers/pcieport/unbind', '0000:00:01.0')
    expect(await driverOf(card.host, PF)).toBeUndefined()
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:00:01.0')
    expect(await driverOf(card.host, PF)).toBe('octeon_ep')
  })
})

describe('a host that boots again', () => {
  it('has lost its functions and what was in memory, and resets the link', async () => {
    await using card = await FakeOcteonCard.create()
    const before = await card.host.read('/proc/sys/kernel/random/boot_id')
    let resets = 0
    using _listening = card.control.onPerst(() => void (resets += 1))
    await card.host.place('/run/state', '')
    await card.host.place('/etc/kept', '')
    await card.rebootHost()
    expect(resets).toBe(1)
    expect(await card.host.read('/proc/sys/kernel/random/boot_id')).not.toBe(before)
    expect([await card.host.list('/run'), await card.host.list('/etc')]).toEqual([[], expect.arrayContaining(['kept'])])
    expect(await card.host.read('/proc/modules')).toBe('')
    expect(await vfCount(card.host)).toBe(0)
    await run(card.host, 'modprobe', 'octeon_ep')
    await card.host.write(`${PF}/sriov_numvfs`, '8')
    expect(await vfCount(card.host)).toBe(8)
  })
})
