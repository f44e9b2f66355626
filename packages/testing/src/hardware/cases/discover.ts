import assert from 'node:assert/strict'
import { formatVfId } from '@cni-offload/sdk'
import type { ComplianceCase } from '../../kit/case.ts'
import { freshContext } from '../../kit/expect.ts'
import { TestNetns } from '../../net/test-netns.ts'
import type { HardwareFixture } from '../fixture.ts'
import { functionOf, giveTo, vfAt } from '../helpers.ts'

/** Discovery. */
export const discoverCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'discover.complete',
    title: 'every function is discovered once, healthy, with the netdev and the MAC that the kernel knows',
    async run(fixture) {
      const functions = await fixture.host.discover(freshContext())
      const ids = functions.map(({ id }) => formatVfId(id)).toSorted()
      assert.deepEqual(ids, fixture.vfs.map(formatVfId).toSorted(), 'discover lists exactly the functions of the device')
      assert.equal(new Set(functions.map(({ mac }) => mac)).size, functions.length, 'no two functions have the same MAC')
      for (const vf of functions) {
        const id = formatVfId(vf.id)
        const link = vf.netdev === undefined ? undefined : await fixture.net.link(fixture.hostNetns, vf.netdev)
        assert.ok(link !== undefined, `${id} is free, so its netdev is named and exists`)
        assert.equal(vf.mac, link.mac, `MAC of ${id}`)
        assert.equal(vf.health, 'healthy', `health of ${id}`)
        assert.ok(vf.capabilities.maxMtu >= link.mtu, `${id} can carry the MTU that it has`)
      }
    },
  },
  {
    id: 'discover.stable',
    title: 'a second discovery, also by another instance, finds the same',
    async run(fixture) {
      const first = await fixture.host.discover(freshContext())
      assert.deepEqual(await fixture.host.discover(freshContext()), first, 'the same instance')
      const other = await fixture.restartHost()
      try {
        assert.deepEqual(await other.discover(freshContext()), first, 'another instance')
      } finally {
        await other[Symbol.asyncDispose]?.()
      }
    },
  },
  {
    id: 'discover.in-pod',
    title: 'a function inside a pod is still discovered, with its pristine MAC and without netdev',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const vf = vfAt(fixture.vfs, 0)
      const before = functionOf(await fixture.host.discover(freshContext()), vf)
      const mac = before.capabilities.setMac ? { mac: '02:c0:ff:ee:00:01' } : {}
      await giveTo(fixture, vf, mac, pod.path, 'eth0')
      const functions = await fixture.host.discover(freshContext())
      assert.equal(functions.length, fixture.vfs.length, 'all functions are listed')
      const now = functionOf(functions, vf)
      assert.equal(now.netdev, undefined, 'netdev of a function that is in a pod')
      assert.equal(now.mac, before.mac, 'MAC in its pristine state')
      await fixture.host.release(vf, { netns: pod.path, ifName: 'eth0' }, freshContext())
      assert.equal(functionOf(await fixture.host.discover(freshContext()), vf).netdev, before.netdev, 'netdev after it was released')
    },
  },
]
