import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet, type NetOp } from '@cni-offload/linux'
import { probeVfSettings } from '@cni-offload/linux/function'
import type { VfAdminSettings } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isRoot, ROOT_REASON, TestNetns } from '../../src/index.ts'
import { connectFakeOcteonNet, FakeOcteonCard, type FakeOcteonCardOptions, serveFakeOcteonCard } from '../../src/octeon/index.ts'
import { PF } from './support.ts'

const MAC = '02:00:00:00:00:42'
const set = (settings: VfAdminSettings, vf = 0): NetOp => ({ op: 'vf.set', dev: 'enp1s0', vf, settings })

describe.skipIf(!isRoot())(`settings of VFs of a fake card (${ROOT_REASON})`, { timeout: 120_000 }, () => {
  let net: LinuxNet
  let host: TestNetns
  let dpu: TestNetns
  beforeAll(async () => {
    net = createLinuxNet()
    host = await TestNetns.create(net, 'oh')
    dpu = await TestNetns.create(net, 'od')
  })
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    await dpu[Symbol.asyncDispose]()
    await net[Symbol.asyncDispose]()
  })

  const plugged = async (options: FakeOcteonCardOptions): Promise<FakeOcteonCard> =>
    await FakeOcteonCard.create({ net, hostNetns: host.path, dpuNetns: dpu.path, vfs: 2, ...options })

  it('are unknown to the driver of Linux, which does not even tell of VFs', async () => {
    await using card = await plugged({})
    const own = card.hostNet(net)
    expect(await own.vfs(host.path, 'enp1s0')).toEqual([])
    await expect(own.apply(host.path, [set({ trust: true })])).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('EOPNOTSUPP') as string,
    })
  })

  it('are all done by word of the driver out of the tree, and none of them is', async () => {
    await using card = await plugged({ hostDriver: 'out-of-tree' })
    const place = { net: card.hostNet(net), netns: host.path, pf: 'enp1s0', vf: 1 }
    const outcomes = await probeVfSettings(place, ['vlan', 'rate', 'spoofCheck', 'trust', 'linkState'])
    expect(new Set(outcomes.values())).toEqual(new Set(['pretended']))
    const before = await net.link(host.path, 'enp1s0v1')
    await place.net.apply(host.path, [set({ mac: MAC }, 1)])
    expect(await place.net.vfs(host.path, 'enp1s0')).toMatchObject([
      { vf: 0, mac: '00:00:00:00:00:00', spoofCheck: false, trust: true, maxTxRate: 10_000, linkState: 'enable' },
      { vf: 1, mac: MAC },
    ])
    expect((await net.link(host.path, 'enp1s0v1'))?.mac, 'the VF never gets it').toBe(before?.mac)
  })

  it('are done, pretended and refused as it is wanted, and forgotten with the VFs', async () => {
    await using card = await plugged({ vfAdmin: { vlan: 'does', rate: 'pretends' } })
    const place = { net: card.hostNet(net), netns: host.path, pf: 'enp1s0', vf: 0 }
    const outcomes = await probeVfSettings(place)
    expect(Object.fromEntries(outcomes)).toMatchObject({ vlan: 'set', rate: 'pretended', trust: { refused: expect.any(String) as string } })
    const before = card.vfAdmin.vfs()
    const vlan = { id: 7, qos: 1, protocol: '802.1ad' } as const
    await place.net.apply(host.path, [set({ vlan }), { op: 'link.set', dev: 'lo', up: true }])
    expect(card.vfAdmin.vfs()).toEqual([{ ...before[0], vlan }, before[1]])
    expect((await net.link(host.path, 'lo'))?.up, 'what is beside it goes to the kernel').toBe(true)
    await expect(place.net.apply(host.path, [set({ vlan }, 2)])).rejects.toMatchObject({
      message: expect.stringContaining('EINVAL') as string,
    })
    await card.host.write(`${PF}/sriov_numvfs`, '0')
    expect(card.vfAdmin.vfs()).toEqual([])
    await card.host.write(`${PF}/sriov_numvfs`, '2')
    expect(card.vfAdmin.vfs()).toEqual(before)
  })

  it('of links that are not the physical function are the kernel’s', async () => {
    await using card = await plugged({ vfAdmin: { trust: 'does' } })
    const own = card.hostNet(net)
    expect(await own.vfs(host.path, 'enp1s0v0')).toEqual([])
    await expect(own.apply(host.path, [{ op: 'vf.set', dev: 'lo', vf: 0, settings: { trust: true } }])).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
    })
    await expect(own.vfs(host.path, 'none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('can be asked for from another process', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'octeon-vf-'))
    try {
      const socket = join(folder, 'card.sock')
      await using card = await plugged({ vfAdmin: { trust: 'does' } })
      await using _server = await serveFakeOcteonCard(card, socket)
      await using own = await connectFakeOcteonNet(socket, createLinuxNet())
      await own.apply(host.path, [set({ trust: true })])
      expect(await own.vfs(host.path, 'enp1s0')).toEqual(card.vfAdmin.vfs())
      expect(card.vfAdmin.vfs()[0]?.trust).toBe(true)
      await expect(own.apply(host.path, [set({ linkState: 'enable' })])).rejects.toMatchObject({
        code: 'KERNEL_REFUSED',
        message: expect.stringContaining('EOPNOTSUPP') as string,
      })
      expect((await own.link(host.path, 'enp1s0'))?.up, 'all else is the kernel').toBe(true)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
