import assert from 'node:assert/strict'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import type { AdapterFixture } from '../fixture.ts'
import { addressesOf, inSession } from '../session.ts'
import { assertReach, assertUnique, range } from './support.ts'

/** What must be gone, and what must stay, after a detach. */
export const detachCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'detach.repeated',
    title: 'a second detach succeeds, also without the port, and also when the attachment never existed',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        await session.attach(0)
        const { key, port } = session.request(0)
        await session.adapter.detach({ key, port }, freshContext())
        await session.adapter.detach({ key, port }, freshContext())
        await session.adapter.detach({ key }, freshContext())
        await session.adapter.detach({ key: { ...key, containerId: 'never-attached' } }, freshContext())
        assert.deepEqual(await session.listed(), [], 'attachments listed')
      }),
  },
  {
    id: 'detach.by-key',
    title: 'the key alone is enough to detach',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        await session.attach(0)
        await session.adapter.detach({ key: session.request(0).key }, freshContext())
        assert.deepEqual(await session.listed(), [], 'attachments listed')
      }),
  },
  {
    id: 'detach.disconnects',
    title: 'a detached port forwards nothing, although the pod behind it is still up',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.connect(0), await session.connect(1)]
        const targets = [...addressesOf(second), ...first.ips.flatMap(({ gateway }) => gateway ?? [])]
        if (targets.length === 0) throw new CaseSkipped('the network assigns no addresses')
        await assertReach(session, 0, targets, true)
        await session.detach(0)
        await assertReach(session, 0, targets, false)
      }),
  },
  {
    id: 'detach.keeps-others',
    title: 'a detach does not touch the other attachments',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.connect(0), await session.connect(1)]
        await session.connect(2)
        await session.detach(2)
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'attachments listed')
        await session.adapter.check(session.checkRequest(0, first), freshContext())
        await assertReach(session, 0, addressesOf(second), true)
      }),
  },
  {
    id: 'detach.reattach',
    title: 'a port can be attached again for another pod and works',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const second = await session.connect(1)
        const { key } = session.request(0)
        for (const containerId of ['first-sandbox', 'second-sandbox']) {
          const result = await session.connect(0, { key: { ...key, containerId } })
          await assertReach(session, 0, addressesOf(second), true)
          await session.detach(0, { key: { ...key, containerId } })
          await session.fixture.net.apply(session.port(0).pod.path, [
            { op: 'link.set', dev: 'eth0', up: false },
            { op: 'addr.flush', dev: 'eth0' },
          ])
          assert.notDeepEqual(result.ips, second.ips, 'addresses of another pod')
        }
      }),
  },
  {
    id: 'detach.frees',
    title: 'a full pool refuses one more, and has room again after a detach',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const { capacity } = fixture
        if (capacity === undefined) throw new CaseSkipped('the pool of the fixture is not small')
        const results = []
        for (const index of range(capacity)) results.push(await session.attach(index))
        assertUnique(results)
        await assertRefused(session.attach(capacity), ['RESOURCE_EXHAUSTED', 'ADAPTER_FAILED'], 'attach when the pool is full')
        await session.detach(capacity)
        assert.deepEqual(await session.listed(), session.keys(...range(capacity)), 'attachments listed after the refusal')
        await session.detach(1)
        await session.attach(capacity)
        // Twice around, so that an address that is lost at each turn shows.
        for (let turn = 0; turn < 2 * capacity; turn += 1) {
          await session.detach(0)
          await session.attach(0)
        }
      }),
  },
]
