import assert from 'node:assert/strict'
import type { ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import { TestNetns } from '../../net/test-netns.ts'
import type { HardwareFixture } from '../fixture.ts'
import { addAltName, assertPristine, functionOf, giveTo, otherTraits, pristineState, vfAt } from '../helpers.ts'

async function settings(fixture: HardwareFixture, index: number): Promise<{ mtu: number; mac?: string }> {
  const was = vfAt(await pristineState(fixture), index)
  const { capabilities } = functionOf(await fixture.host.discover(freshContext()), was.id)
  return { mtu: was.mtu - 100, ...(capabilities.setMac ? { mac: `02:c0:ff:ee:01:0${index}` } : {}) }
}

async function useInPod(fixture: HardwareFixture, netns: string, ifName: string): Promise<void> {
  await fixture.net.apply(netns, [
    { op: 'link.set', dev: ifName, up: true },
    { op: 'addr.add', dev: ifName, address: '192.0.2.2/24' },
    { op: 'addr.add', dev: ifName, address: '2001:db8::2/64' },
  ])
}

/** Bringing a function back. */
export const releaseCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'release.pristine',
    title: 'a function that a pod used comes back to the host with its own name, MAC and MTU, down, without addresses',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await giveTo(fixture, was.id, await settings(fixture, 0), pod.path, 'eth0')
      await useInPod(fixture, pod.path, 'eth0')
      await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released')
      assert.equal(await fixture.net.link(pod.path, 'eth0'), undefined, 'the pod has it no more')
    },
  },
  {
    id: 'release.reusable',
    title: 'a released function can be given to another pod',
    async run(fixture) {
      await using first = await TestNetns.create(fixture.net, 'hwk')
      await using second = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      for (const pod of [first, second]) {
        const netdev = await giveTo(fixture, was.id, {}, pod.path, 'eth0')
        assert.equal(netdev.mac, was.mac, 'nothing of the former pod is left')
        await useInPod(fixture, pod.path, 'eth0')
        await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
        await assertPristine(fixture, was, 'released')
      }
    },
  },
  {
    id: 'release.traits',
    title: 'what a pod set on a function besides MAC and MTU, ARP off for instance, is undone, wherever the function lies',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      await fixture.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', up: true, traits: otherTraits(was.traits) }])
      await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released')
      await fixture.net.apply(fixture.hostNetns, [{ op: 'link.set', dev: was.name, traits: otherTraits(was.traits) }])
      await fixture.host.release(was.id, {}, freshContext())
      await assertPristine(fixture, was, 'released at home')
    },
  },
  {
    id: 'release.alt-names',
    title: 'alternative names that a pod gave to a function go, also one that would keep another function from coming back',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const [was, other] = [vfAt(await pristineState(fixture), 0), vfAt(await pristineState(fixture), 1)]
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      await giveTo(fixture, other.id, {}, pod.path, 'eth1')
      for (const name of ['hwkalias', was.name, other.name]) await addAltName(pod.path, 'eth0', name)
      await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released')
      await fixture.host.release(other.id, { netns: pod.path, ifName: 'eth1' }, freshContext())
      await assertPristine(fixture, other, 'released after a function that had its name')
      for (const name of ['hwkalias', other.name]) {
        await giveTo(fixture, was.id, {}, pod.path, 'eth0')
        await fixture.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', name: 'mine' }])
        for (const altName of ['eth0', name]) await addAltName(pod.path, 'mine', altName)
        await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
        await assertPristine(fixture, was, 'released by an alternative name')
      }
    },
  },
  {
    id: 'release.twice',
    title: 'a second release changes nothing',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 1)
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      const from = { netns: pod.path, ifName: 'eth0' }
      await fixture.host.release(was.id, from, freshContext())
      await fixture.host.release(was.id, from, freshContext())
      await assertPristine(fixture, was, 'released twice')
    },
  },
  {
    id: 'release.never-acquired',
    title: 'releasing a function that nobody acquired succeeds and makes it pristine',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      await fixture.host.release(was.id, {}, freshContext())
      await fixture.host.release(was.id, { netns: '/run/netns/never-existed', ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released without having been acquired')
    },
  },
  {
    id: 'release.not-moved',
    title: 'a function that was acquired and never reached the pod is restored where it is',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      const netdev = await fixture.host.acquire(was.id, await settings(fixture, 0), freshContext())
      await fixture.net.apply(fixture.hostNetns, [{ op: 'link.set', dev: netdev.name, up: true }])
      await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released without having been moved')
    },
  },
  {
    id: 'release.renamed-at-home',
    title: 'a function that lies in the host under another name gets its own name back',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      await fixture.net.apply(fixture.hostNetns, [{ op: 'link.set', dev: was.name, up: false, name: 'hwkstray' }])
      await fixture.host.release(was.id, {}, freshContext())
      await assertPristine(fixture, was, 'released')
    },
  },
  {
    id: 'release.renamed',
    title: 'a function that the pod renamed is found, and the link that took its name there is left alone',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      await fixture.net.apply(pod.path, [
        { op: 'link.set', dev: 'eth0', name: 'mine' },
        { op: 'link.add-bridge', dev: 'eth0' },
      ])
      await fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      await assertPristine(fixture, was, 'released')
      const left = (await fixture.net.links(pod.path)).map(({ name, kind }) => `${name} ${kind}`)
      assert.ok(left.includes('eth0 bridge'), `the pod's own link is still there, beside ${left.join(', ')}`)
      assert.ok(!left.some((link) => link.startsWith('mine ')), 'the pod has the function no more')
    },
  },
  {
    id: 'release.netns-gone',
    title: 'when the namespace is gone with the function inside, it is brought back if the hardware can, and refused if not',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      const pod = await TestNetns.create(fixture.net, 'hwk')
      try {
        await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      } finally {
        await pod[Symbol.asyncDispose]()
      }
      const release = fixture.host.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      if (!fixture.survivesNetnsLoss) return void (await assertRefused(release, ['HARDWARE_FAILURE'], 'release of a function that is lost'))
      await release
      await assertPristine(fixture, was, 'released after its namespace was deleted')
      const port = await fixture.dpu.port(was.id, freshContext())
      assert.ok((await fixture.net.link(fixture.dpuNetns, port.name)) !== undefined, `its port "${port.name}" is there, too`)
    },
  },
  {
    id: 'release.after-restart',
    title: 'an instance that did not acquire a function can release it, with its pristine MAC and MTU',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await giveTo(fixture, was.id, await settings(fixture, 0), pod.path, 'eth0')
      const other = await fixture.restartHost()
      try {
        await other.release(was.id, { netns: pod.path, ifName: 'eth0' }, freshContext())
      } finally {
        await other[Symbol.asyncDispose]?.()
      }
      await assertPristine(fixture, was, 'released by another instance')
    },
  },
  {
    id: 'release.name-taken',
    title: "a stranger that has the function's own name is refused with HARDWARE_FAILURE and its name, never taken for it",
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      await fixture.net.apply(fixture.hostNetns, [{ op: 'link.add-bridge', dev: was.name }])
      const from = { netns: pod.path, ifName: 'eth0' }
      const error = await assertRefused(
        fixture.host.release(was.id, from, freshContext()),
        ['HARDWARE_FAILURE'],
        'release into a taken name',
      )
      assert.ok(error.message.includes(was.name), `the message names "${was.name}": ${error.message}`)
      assert.equal((await fixture.net.link(fixture.hostNetns, was.name))?.kind, 'bridge', 'the stranger is untouched')
      await fixture.net.apply(fixture.hostNetns, [{ op: 'link.del', dev: was.name }])
      await fixture.host.release(was.id, from, freshContext())
      await assertPristine(fixture, was, 'released after the name was free')
    },
  },
]
