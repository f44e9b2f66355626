import assert from 'node:assert/strict'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import type { HardwareFixture } from '../fixture.ts'
import { addAltName, assertOwnTraits, assertPristine, functionOf, otherTraits, pristineState, vfAt } from '../helpers.ts'

const WANTED_MAC = '02:c0:ff:ee:00:02'

/** Preparing a function for a pod. */
export const acquireCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'acquire.settings',
    title: 'wanted MAC and MTU are set, and what is answered is what the kernel has, and discover if it names the largest MTU',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 1)
      const { capabilities } = functionOf(await fixture.host.discover(freshContext()), was.id)
      const want = { mtu: was.mtu - 100, ...(capabilities.setMac ? { mac: WANTED_MAC } : {}) }
      const { maxMtu = capabilities.maxMtu, ...netdev } = await fixture.host.acquire(was.id, want, freshContext())
      const link = await fixture.net.link(fixture.hostNetns, netdev.name)
      assert.ok(link !== undefined, `"${netdev.name}", the netdev that acquire answers, exists`)
      assert.deepEqual({ mac: link.mac, mtu: link.mtu }, { mac: want.mac ?? was.mac, mtu: want.mtu }, 'settings in the kernel')
      assert.deepEqual(netdev, { name: link.name, mac: link.mac, mtu: link.mtu }, 'what acquire answers')
      assert.equal(maxMtu, capabilities.maxMtu, 'largest MTU')
      await fixture.host.release(was.id, {}, freshContext())
      await assertPristine(fixture, was, 'acquired and released')
    },
  },
  {
    id: 'acquire.leaves-rest',
    title: 'settings that are not wanted stay as they are',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      const { maxMtu: _largest, ...netdev } = await fixture.host.acquire(was.id, {}, freshContext())
      assert.deepEqual(netdev, { name: was.name, mac: was.mac, mtu: was.mtu }, 'acquire without settings')
    },
  },
  {
    id: 'acquire.silent',
    title: 'an acquired function is down and has no addresses, even if somebody had configured it',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      await fixture.net.apply(fixture.hostNetns, [
        { op: 'link.set', dev: was.name, up: true },
        { op: 'addr.add', dev: was.name, address: '192.0.2.1/32' },
        { op: 'addr.add', dev: was.name, address: '2001:db8::1/128' },
      ])
      const { name } = await fixture.host.acquire(was.id, {}, freshContext())
      assert.equal((await fixture.net.link(fixture.hostNetns, name))?.up, false, 'up')
      assert.deepEqual(await fixture.net.addresses(fixture.hostNetns, name), [], 'addresses')
    },
  },
  {
    id: 'acquire.traits',
    title: 'an acquired function has its own traits and no alternative names, even if somebody had changed them',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      for (const want of [{}, { mtu: was.mtu - 100 }]) {
        await fixture.net.apply(fixture.hostNetns, [{ op: 'link.set', dev: was.name, traits: otherTraits(was.traits) }])
        await addAltName(fixture.hostNetns, was.name, 'hwkalias')
        const { name } = await fixture.host.acquire(was.id, want, freshContext())
        assertOwnTraits(await fixture.net.link(fixture.hostNetns, name), was, 'acquired, it')
      }
    },
  },
  {
    id: 'acquire.impossible-setting',
    title: 'a setting that does not stick is a HARDWARE_FAILURE, and the function is pristine after its release',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      const { capabilities } = functionOf(await fixture.host.discover(freshContext()), was.id)
      // A multicast address is no device's own address anywhere.
      const mac = capabilities.setMac ? '01:00:5e:00:00:01' : WANTED_MAC
      await assertRefused(fixture.host.acquire(was.id, { mac }, freshContext()), ['HARDWARE_FAILURE'], `acquire with MAC ${mac}`)
      await fixture.host.release(was.id, {}, freshContext())
      await assertPristine(fixture, was, 'refused and released')
    },
  },
  {
    id: 'acquire.excessive-mtu',
    title: 'an MTU beyond what the function carries is a HARDWARE_FAILURE',
    async run(fixture) {
      const was = vfAt(await pristineState(fixture), 0)
      const { maxMtu } = functionOf(await fixture.host.discover(freshContext()), was.id).capabilities
      if (maxMtu >= 65_535) throw new CaseSkipped('the function carries every MTU that can be asked for')
      await assertRefused(
        fixture.host.acquire(was.id, { mtu: maxMtu + 1 }, freshContext()),
        ['HARDWARE_FAILURE'],
        `acquire with MTU ${maxMtu + 1}`,
      )
      await fixture.host.release(was.id, {}, freshContext())
      await assertPristine(fixture, was, 'refused and released')
    },
  },
  {
    id: 'acquire.unknown',
    title: 'a function that the device does not have is a HARDWARE_FAILURE to acquire, to release and to map',
    async run(fixture) {
      const { device } = vfAt(fixture.vfs, 0)
      for (const vf of [
        { device, index: 100_000 },
        { device, index: -1 },
        { device: 'nosuch', index: 0 },
      ]) {
        await assertRefused(fixture.host.acquire(vf, {}, freshContext()), ['HARDWARE_FAILURE'], `acquire of ${vf.device}/${vf.index}`)
        await assertRefused(fixture.host.release(vf, {}, freshContext()), ['HARDWARE_FAILURE'], `release of ${vf.device}/${vf.index}`)
        await assertRefused(fixture.dpu.port(vf, freshContext()), ['HARDWARE_FAILURE'], `port of ${vf.device}/${vf.index}`)
      }
    },
  },
]
