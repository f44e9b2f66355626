import assert from 'node:assert/strict'
import type { DeviceEvent } from '@cni-offload/sdk'
import type { ComplianceCase } from '../../kit/case.ts'
import { abortedContext, assertRefused, freshContext, together } from '../../kit/expect.ts'
import { TestNetns } from '../../net/test-netns.ts'
import type { HardwareFixture } from '../fixture.ts'
import { assertPristine, giveTo, pristineState, vfAt } from '../helpers.ts'

/** How long an iterable may take to notice that its signal aborted, in milliseconds. */
const GRACE_MS = 2_000

/** Concurrency, abort and events. */
export const lifecycleCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'concurrency.all',
    title: 'all functions can be given to pods and released at the same time, again and again',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const states = await pristineState(fixture)
      for (const round of [1, 2]) {
        const netdevs = await together(states.map(({ id }, index) => giveTo(fixture, id, { mtu: 1400 }, pod.path, `pod${index}`)))
        assert.equal(new Set(netdevs.map(({ name }) => name)).size, states.length, 'no netdev is given out twice')
        await together(states.map(({ id }, index) => fixture.host.release(id, { netns: pod.path, ifName: `pod${index}` }, freshContext())))
        for (const was of states) await assertPristine(fixture, was, `round ${round}`)
      }
    },
  },
  {
    id: 'abort.refused',
    title: 'with an aborted signal nothing is done, and the operation rejects with CANCELLED',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const was = vfAt(await pristineState(fixture), 0)
      await assertRefused(fixture.host.discover(abortedContext()), ['CANCELLED'], 'discover')
      await assertRefused(fixture.host.acquire(was.id, { mtu: was.mtu - 100 }, abortedContext()), ['CANCELLED'], 'acquire')
      await assertPristine(fixture, was, 'acquire was aborted')
      await assertRefused(fixture.dpu.port(was.id, abortedContext()), ['CANCELLED'], 'port')
      await assertRefused(fixture.dpu.ports(abortedContext()), ['CANCELLED'], 'ports')
      await giveTo(fixture, was.id, {}, pod.path, 'eth0')
      const from = { netns: pod.path, ifName: 'eth0' }
      await assertRefused(fixture.host.release(was.id, from, abortedContext()), ['CANCELLED'], 'release')
      assert.ok((await fixture.net.link(pod.path, 'eth0')) !== undefined, 'an aborted release leaves the function where it is')
      await fixture.host.release(was.id, from, freshContext())
      await assertPristine(fixture, was, 'released after an aborted release')
    },
  },
  {
    id: 'watch.ends',
    title: 'events of a sound device report no loss, and end when the signal aborts',
    async run(fixture) {
      for (const [half, device] of Object.entries({ host: fixture.host, dpu: fixture.dpu })) {
        const stop = new AbortController()
        const losses: DeviceEvent[] = []
        const watching = (async (): Promise<'ended'> => {
          for await (const event of device.watch(stop.signal)) if (event.kind !== 'device-back') losses.push(event)
          return 'ended'
        })()
        // Discovery goes through the same device: when it has answered, an event about the present state is out, too.
        await fixture.host.discover(freshContext())
        stop.abort()
        const late = AbortSignal.timeout(GRACE_MS)
        const outcome = await Promise.race([
          watching,
          new Promise<'late'>((resolve) => late.addEventListener('abort', () => resolve('late'))),
        ])
        assert.equal(outcome, 'ended', `watch of the ${half} half, after its signal aborted`)
        assert.deepEqual(losses, [], `events of the ${half} half`)
      }
    },
  },
  {
    id: 'watch.aborted-before',
    title: 'events of a signal that is already aborted end at once',
    async run(fixture) {
      for (const device of [fixture.host, fixture.dpu]) {
        const events: DeviceEvent[] = []
        for await (const event of device.watch(AbortSignal.abort())) events.push(event)
        assert.deepEqual(events, [], 'events')
      }
    },
  },
]
