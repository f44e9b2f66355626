import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { OWN_NETNS } from '@cni-offload/linux'
import { FunctionNetdevs, type Recover } from '@cni-offload/linux/function'
import { isSettledVf, readPciDevice } from '@cni-offload/linux/pci'
import { Card, machine, patience, physicalFunction, until } from './support.ts'

const MAC = '02:00:00:00:00:21'
const unneeded: Recover = async () => {
  throw new Error('the function is there: nobody needs to look for it')
}

describe('interfaces of VFs, on their way into pods and back', () => {
  let card: Card
  before(async () => {
    card = await Card.with(2, true)
  })
  after(async () => await card[Symbol.asyncDispose]())

  test('a VF goes into a pod with MAC and MTU of its own, and comes home as it was', async () => {
    const [end, pod] = [card.end(0), await card.pod('pod')]
    const netdevs = new FunctionNetdevs(card.net, OWN_NETNS)
    const before = await card.net.link(OWN_NETNS, end.name)
    const acquired = await netdevs.acquire(end, { mac: MAC, mtu: 1400 }, 9000, patience())
    assert.deepEqual(acquired, { name: end.name, mac: MAC, mtu: 1400, maxMtu: 9000 })
    await card.into(pod, end, '10.7.0.10/24')

    const there = await card.net.link(pod, 'eth0')
    assert.deepEqual([there?.mac, there?.mtu, there?.parent], [MAC, 1400, { bus: 'pci', name: end.pciAddress }])
    // Its folder of interfaces shows those of the namespace of whoever looks: it is there, and empty.
    const vf = await readPciDevice(machine, end.pciAddress ?? '')
    assert.deepEqual(vf?.netdevs, [])
    assert.equal(vf !== undefined && isSettledVf(vf, await physicalFunction()), true)

    await netdevs.release(end, { netns: pod, ifName: 'eth0' }, unneeded, patience())
    const { stats: _after, ...home } = (await card.net.link(OWN_NETNS, end.name)) ?? { stats: undefined }
    const { stats: _before, ...was } = before ?? { stats: undefined }
    assert.deepEqual(home, was)
    assert.equal((await card.net.vfs(OWN_NETNS, card.pf))[0]?.mac, end.mac)
  })

  test('a VF whose pod is gone is in the first namespace again, under a name of the kernel, and comes home', async () => {
    const [end, pod] = [card.end(1), await card.pod('gone')]
    const netdevs = new FunctionNetdevs(card.net, OWN_NETNS)
    await card.into(pod, end, '10.7.0.10/24')
    await card.net.deleteNetns('gone')
    const names = async (): Promise<string[]> =>
      (await card.net.links(OWN_NETNS)).filter(({ parent }) => parent?.name === end.pciAddress).map(({ name }) => name)
    await until('the VF is in the first namespace', async () => (await names()).length === 1)
    assert.notDeepEqual(await names(), [end.name])
    await netdevs.release(end, { netns: pod, ifName: 'eth0' }, unneeded, patience())
    assert.deepEqual(await names(), [end.name])
    const home = await card.net.link(OWN_NETNS, end.name)
    assert.deepEqual([home?.mac, home?.up], [end.mac, false])
  })
})
