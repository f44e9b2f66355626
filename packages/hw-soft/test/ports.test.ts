import { createLinuxNet } from '@cni-offload/linux'
import { silentLogger } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { moveFunctions, movePorts } from '../src/index.ts'
import { softCard } from './soft-card.ts'

describe.skipIf(!isRoot())(`ports of a card (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  it('come bare out of wherever they are; the VFs and other cards are not touched', async () => {
    await using soft = await softCard(net, 3)
    await using other = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    await using proxy = await TestNetns.create(net, 'swx')
    await using silicon = await TestNetns.create(net, 'sws')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' }])
    await net.apply(pod.path, [
      { op: 'link.set', dev: 'eth0', up: true },
      { op: 'addr.add', dev: 'eth0', address: '10.1.1.1/24' },
    ])
    await net.apply(soft.dpuNetns.path, [{ op: 'link.move', dev: 'soft0p0', netns: proxy.path, name: 'vf0' }])
    await net.apply(proxy.path, [
      { op: 'link.set', dev: 'vf0', up: true, mtu: 1400 },
      { op: 'redirect.set', from: 'vf0', to: 'lo' },
    ])
    await net.apply(soft.dpuNetns.path, [
      { op: 'link.add-bridge', dev: 'br0' },
      { op: 'link.set', dev: 'soft0p1', master: 'br0', up: true },
      { op: 'addr.add', dev: 'soft0p1', address: '10.1.2.1/24' },
    ])
    const note = (await net.link(soft.dpuNetns.path, 'soft0p2'))?.alias ?? ''
    await net.apply(soft.dpuNetns.path, [{ op: 'link.set', dev: 'soft0p2', alias: `${note} [whose]` }])
    const before = await net.link(pod.path, 'eth0')
    const card = { net, ...soft.card, dpuNetns: soft.dpuNetns.path }

    expect((await movePorts(card, silicon.path)).toSorted()).toEqual([proxy.path, soft.dpuNetns.path, soft.dpuNetns.path].toSorted())
    for (const index of [0, 1, 2]) {
      const port = await net.link(silicon.path, `soft0p${index}`)
      expect(port).toMatchObject({ up: false, mtu: 1500, alias: expect.stringMatching(`port=soft0/${index} .* mtu=1500$`) })
      expect(port?.master).toBeUndefined()
      expect(await net.redirectTarget(silicon.path, `soft0p${index}`)).toBeUndefined()
      expect(await net.addresses(silicon.path, `soft0p${index}`)).toEqual([])
    }
    expect(await net.link(pod.path, 'eth0')).toMatchObject({ index: before?.index, mac: before?.mac, up: true })
    expect(await net.addresses(pod.path, 'eth0')).toEqual(['10.1.1.1/24'])
    expect((await net.links(other.dpuNetns.path)).map(({ name }) => name)).toContain('soft0p0')

    expect(await movePorts(card, silicon.path)).toEqual([])
    expect(await movePorts(card, soft.dpuNetns.path)).toHaveLength(3)
    await soft.dpu.start(AbortSignal.timeout(10_000))
  })

  it('and so do its VFs; the ports are not touched', async () => {
    await using soft = await softCard(net, 2)
    await using pod = await TestNetns.create(net, 'swp')
    await using silicon = await TestNetns.create(net, 'sws')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v1', netns: pod.path, name: 'eth0' }])
    await net.apply(pod.path, [
      { op: 'link.set', dev: 'eth0', up: true, mac: '02:00:00:00:00:99', mtu: 1400 },
      { op: 'addr.add', dev: 'eth0', address: '10.1.1.1/24' },
    ])
    const port = await net.link(soft.dpuNetns.path, 'soft0p1')
    const card = { net, ...soft.card, hostNetns: soft.hostNetns.path }
    expect((await moveFunctions(card, silicon.path)).toSorted()).toEqual([pod.path, soft.hostNetns.path].toSorted())
    expect(await moveFunctions(card, soft.hostNetns.path)).toHaveLength(2)
    expect((await soft.host.discover({ signal: AbortSignal.timeout(10_000), log: silentLogger })).map(({ netdev }) => netdev)).toEqual([
      'soft0v0',
      'soft0v1',
    ])
    expect(await net.link(soft.hostNetns.path, 'soft0v1')).toMatchObject({ up: false, mtu: 1500, mac: expect.not.stringContaining('99') })
    expect(await net.link(soft.dpuNetns.path, 'soft0p1')).toMatchObject({ index: port?.index, mac: port?.mac })
  })
})
