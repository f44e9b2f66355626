import assert from 'node:assert/strict'
import type { ComplianceCase } from '../../kit/case.ts'
import { freshContext } from '../../kit/expect.ts'
import type { AdapterFixture } from '../fixture.ts'
import { addressesOf, inSession, type Session } from '../session.ts'
import { assertReach } from './support.ts'

/** A port as another adapter wants to find it. */
async function assertFree(session: Session, index: number, when: string): Promise<void> {
  const { port, dpuNetns } = session.port(index)
  const { net } = session.fixture
  const link = await net.link(dpuNetns, port.name)
  assert.ok(link !== undefined, `port ${port.name} is in the agent's namespace ${when}`)
  assert.equal(link.up, false, `port ${port.name} is up ${when}`)
  assert.equal(link.master, undefined, `master of port ${port.name} ${when}`)
  assert.equal(await net.redirectTarget(dpuNetns, port.name), undefined, `where frames of port ${port.name} are sent ${when}`)
  assert.deepEqual(await net.addresses(dpuNetns, port.name), [], `addresses of port ${port.name} ${when}`)
}

async function assertAllFree(session: Session, but: readonly number[], when: string): Promise<void> {
  for (const index of session.fixture.ports.keys()) if (!but.includes(index)) await assertFree(session, index, when)
}

/** Ports that other adapters of the agent may attach, too. */
export const portCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'ports.shared',
    title: 'a shared port is held from attach to detach only, and is then as another adapter wants to find it',
    run: (fixture) =>
      inSession(
        fixture,
        async (session) => {
          await assertAllFree(session, [], 'after start')
          const [first, second] = [await session.connect(0), await session.connect(1)]
          await assertAllFree(session, [0, 1], 'while others are attached')
          await assertReach(session, 0, addressesOf(second), true)
          await session.adapter.check(session.checkRequest(0, first), freshContext())
          await session.detach(0)
          await assertAllFree(session, [1], 'after detach')
          await session.adapter.check(session.checkRequest(0, await session.attach(0)), freshContext())
        },
        true,
      ),
  },
  {
    id: 'ports.shared-restart',
    title: 'when ports become shared, those with attachments stay with them and all others are put back',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.connect(0), await session.connect(1)]
        await session.restart(true)
        await assertAllFree(session, [0, 1], 'after the restart')
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'attachments listed after the restart')
        await session.adapter.check(session.checkRequest(0, first), freshContext())
        await assertReach(session, 0, addressesOf(second), true)
        await session.detach(0)
        await assertAllFree(session, [1], 'after detach')
        await session.restart(false)
        assert.deepEqual(await session.attach(1), second, 'the result of attaching again')
      }),
  },
]
