import { createLinuxNet, type Link } from '@cni-offload/linux'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { plugCard, unplugCard } from '../src/index.ts'
import { softCard } from './soft-card.ts'

describe.skipIf(!isRoot())(`a card (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  const names = async (netns: TestNetns): Promise<string[]> =>
    (await net.links(netns.path))
      .map(({ name }) => name)
      .filter((name) => name !== 'lo')
      .toSorted()

  it('has one VF on the host and one port on the DPU per function, both down and with a note', async () => {
    await using soft = await softCard(net, 2)
    expect(await names(soft.hostNetns)).toEqual(['soft0v0', 'soft0v1'])
    expect(await names(soft.dpuNetns)).toEqual(['soft0p0', 'soft0p1'])
    const vf = await net.link(soft.hostNetns.path, 'soft0v1')
    expect(vf).toMatchObject({ mtu: 1500, up: false, alias: `cni-offload vf=soft0/1 name=soft0v1 mac=${vf?.mac} mtu=1500` })
    const port = await net.link(soft.dpuNetns.path, 'soft0p1')
    expect(port).toMatchObject({ mtu: 1500, up: false, alias: `cni-offload port=soft0/1 name=soft0p1 mac=${port?.mac} mtu=1500` })
  })

  it('stays as it is when it is plugged in again, also with a function in a pod and a port in a proxy namespace', async () => {
    await using soft = await softCard(net, 2)
    await using pod = await TestNetns.create(net, 'swp')
    await using proxy = await TestNetns.create(net, 'swx')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' }])
    await net.apply(soft.dpuNetns.path, [{ op: 'link.move', dev: 'soft0p0', netns: proxy.path, name: 'vf0' }])
    await soft.plug()
    expect(await names(soft.hostNetns)).toEqual(['soft0v1'])
    expect(await names(soft.dpuNetns)).toEqual(['soft0p1'])
  })

  it('gets its missing functions back with their old addresses', async () => {
    await using soft = await softCard(net, 3)
    const before = await net.link(soft.hostNetns.path, 'soft0v1')
    await net.apply(soft.dpuNetns.path, [{ op: 'link.del', dev: 'soft0p1' }])
    expect(await names(soft.hostNetns)).toEqual(['soft0v0', 'soft0v2'])
    await soft.plug()
    expect(await names(soft.dpuNetns)).toEqual(['soft0p0', 'soft0p1', 'soft0p2'])
    expect((await net.link(soft.hostNetns.path, 'soft0v1'))?.mac).toBe(before?.mac)
  })

  it.each(['no', 'only the port'])(
    'is made whole if somebody was killed while plugging a function in, and %s had its note',
    async (noted) => {
      await using soft = await softCard(net, 2)
      const clean = async (netns: TestNetns, dev: string): Promise<void> =>
        await net.apply(netns.path, [{ op: 'link.set', dev, alias: '' }])
      await clean(soft.hostNetns, 'soft0v1')
      if (noted === 'no') await clean(soft.dpuNetns, 'soft0p1')
      await soft.plug()
      expect((await net.link(soft.hostNetns.path, 'soft0v1'))?.alias).toMatch(/^cni-offload vf=soft0\/1 /)
      expect((await net.link(soft.dpuNetns.path, 'soft0p1'))?.alias).toMatch(/^cni-offload port=soft0\/1 /)
    },
  )

  it('refuses a slot where something else has the name of a function', async () => {
    await using soft = await softCard(net, 1)
    await soft.unplug()
    await net.apply(soft.hostNetns.path, [{ op: 'link.add-bridge', dev: 'soft0v0' }])
    await expect(soft.plug()).rejects.toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringContaining('soft0v0') })
    expect(await names(soft.dpuNetns)).toEqual([])
  })

  it('is gone after it was pulled out, wherever its ends were; the same device of another node stays', async () => {
    await using soft = await softCard(net, 3)
    await using other = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' }])
    await net.apply(soft.hostNetns.path, [{ op: 'link.set', dev: 'soft0v1', name: 'renamed' }])
    await soft.unplug()
    await soft.unplug()
    for (const netns of [soft.hostNetns, soft.dpuNetns, pod]) expect(await names(netns)).toEqual([])
    expect(await names(other.hostNetns)).toEqual(['soft0v0'])
  })

  it('carries the MTU that it was plugged with', async () => {
    await using host = await TestNetns.create(net, 'swh')
    await using dpu = await TestNetns.create(net, 'swd')
    const slot = { net, device: 'big', vfs: 1, node: host.name, mtu: 9000, hostNetns: host.path, dpuNetns: dpu.path }
    await plugCard(slot)
    const ends: (Link | undefined)[] = [await net.link(host.path, 'bigv0'), await net.link(dpu.path, 'bigp0')]
    expect(ends.map((end) => end?.mtu)).toEqual([9000, 9000])
    await unplugCard({ ...slot, mtu: 1500 })
    expect(await names(host)).toEqual([])
  })
})
