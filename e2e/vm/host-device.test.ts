import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { OWN_NETNS, type VfAdmin } from '@cni-offload/linux'
import { makeOcteonHost, octeonHostOptions } from '@cni-offload/hw-octeon'
import { type HostDevice, type OpContext, silentLogger, systemClock, type VfAdminSettings } from '@cni-offload/sdk'
import { disguised } from './disguise.ts'
import { Card, machine, patience, run } from './support.ts'

/** The backend takes no other card; what it does goes to the drivers of this one. */
const octeon = disguised(machine, {
  drivers: { igb: 'octeon_ep', igbvf: 'octeon_ep_vf' },
  ids: { '0x8086': '0x177d', '0x10c9': '0xb900', '0x10ca': '0xb903' },
})
const ctx = (): OpContext => ({ signal: patience(), log: silentLogger })
const WISH: VfAdminSettings = { vlan: { id: 100, qos: 0, protocol: '802.1q' }, spoofCheck: false, minTxRate: 0, maxTxRate: 200 }

describe('a host device over a real physical function', () => {
  let card: Card
  let stateDir: string
  const device = async (): Promise<HostDevice & AsyncDisposable> => {
    const deps = { log: silentLogger, clock: systemClock, stateDir }
    const host = await makeOcteonHost(deps, octeonHostOptions.parse({ device: 'card0' }), octeon)
    return host as HostDevice & AsyncDisposable
  }
  const vf = (index: number) => ({ device: 'card0', index }) as const
  const told = async (index: number): Promise<VfAdmin | undefined> => (await card.net.vfs(OWN_NETNS, card.pf))[index]

  before(async () => {
    card = await Card.with(2, true)
    stateDir = await mkdtemp(join(tmpdir(), 'host-device-'))
  })
  after(async () => {
    await card[Symbol.asyncDispose]()
    await rm(stateDir, { recursive: true, force: true })
  })

  test('offers what the driver was seen to enforce, and its VFs as they are', async () => {
    await using host = await device()
    const found = await host.discover(ctx())
    assert.deepEqual(
      found.map(({ id, pciAddress, netdev, mac, health }) => ({ id, pciAddress, netdev, mac, health })),
      card.ends.map(({ pciAddress, name, mac }, index) => ({ id: vf(index), pciAddress, netdev: name, mac, health: 'healthy' })),
    )
    assert.deepEqual(found[0]?.capabilities.admin, ['vlan', 'rate', 'spoofCheck', 'trust'])
  })

  test('what an adapter asks for reaches the card; what changes behind its back is told, and made again; released, all is as before', async () => {
    await using host = await device()
    const [before, pod] = [await told(0), await card.pod('held')]
    const netdev = await host.acquire(vf(0), {}, ctx())
    await card.net.apply(OWN_NETNS, [{ op: 'link.move', dev: netdev.name, netns: pod, name: 'eth0' }])
    await host.configure?.(vf(0), WISH, ctx())
    assert.deepEqual(await told(0), { ...before, ...WISH })
    assert.deepEqual(await host.deviations?.(vf(0), WISH, ctx()), [])

    run(OWN_NETNS, 'ip', 'link', 'set', card.pf, 'vf', '0', 'vlan', '7', 'spoofchk', 'on')
    const phrases = await host.deviations?.(vf(0), WISH, ctx())
    assert.deepEqual(phrases?.map((phrase) => phrase.split(' ')[0]).toSorted(), ['spoofCheck', 'vlan'])
    await host.configure?.(vf(0), WISH, ctx())
    assert.deepEqual(await told(0), { ...before, ...WISH })

    await assert.rejects(async () => await host.configure?.(vf(0), { linkState: 'disable' }, ctx()), {
      code: 'HARDWARE_FAILURE',
      message: /linkState/,
    })
    await host.release(vf(0), { netns: pod, ifName: 'eth0' }, ctx())
    assert.deepEqual(await told(0), before)
    assert.equal((await card.net.link(OWN_NETNS, card.end(0).name))?.mac, card.end(0).mac)
  })

  test('what a daemon that has ended had made is taken back by the next one', async () => {
    const before = await told(1)
    {
      await using host = await device()
      await host.acquire(vf(1), {}, ctx())
      await host.configure?.(vf(1), WISH, ctx())
    }
    assert.notDeepEqual(await told(1), before)
    await using next = await device()
    await next.release(vf(1), { netns: '/run/netns/never', ifName: 'eth0' }, ctx())
    assert.deepEqual(await told(1), before)
  })
})
