import assert from 'node:assert/strict'
import { formatAttachmentKey, type RememberedAttachment } from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import type { AdapterFixture } from '../fixture.ts'
import { addressesOf, inSession } from '../session.ts'
import { assertReach, assertUnique } from './support.ts'

/** What the adapter says about itself, and what survives it. */
export const stateCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'status.ready',
    title: 'a started adapter whose network has room is ready',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        await session.adapter.status(freshContext())
        await session.attach(0)
        await session.adapter.status(freshContext())
      }),
  },
  {
    id: 'list.truth',
    title: 'exactly what is attached is listed',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        assert.deepEqual(await session.listed(), [], 'before the first attach')
        await session.attach(0)
        await session.attach(1)
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'after two attaches')
        await session.detach(0)
        assert.deepEqual(await session.listed(), session.keys(1), 'after one was detached')
      }),
  },
  {
    id: 'check.sound',
    title: 'a check right after attach passes, again and again',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const result = await session.connect(0)
        await session.adapter.check(session.checkRequest(0, result), freshContext())
        await session.adapter.check(session.checkRequest(0, result), freshContext())
      }),
  },
  {
    id: 'check.tampered',
    title: 'a check notices everything that the fixture can break, and the attachment can still be detached',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        if (fixture.tampers.length === 0) throw new CaseSkipped('the fixture has no way of breaking an attachment')
        for (const [turn, tamper] of fixture.tampers.entries()) {
          const index = turn % session.room
          const result = await session.attach(index)
          await session.adapter.check(session.checkRequest(index, result), freshContext())
          await tamper.run({ request: session.request(index), result })
          await assertRefused(
            session.adapter.check(session.checkRequest(index, result), freshContext()),
            ['CHECK_FAILED'],
            `check after somebody ${tamper.title}`,
          )
          await session.detach(index)
          assert.deepEqual(await session.listed(), [], `attachments listed after somebody ${tamper.title} and it was detached`)
        }
      }),
  },
  {
    id: 'check.detached',
    title: 'a check of what is not attached fails',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const result = await session.attach(0)
        await session.detach(0)
        await assertRefused(session.adapter.check(session.checkRequest(0, result), freshContext()), ['CHECK_FAILED'], 'check after detach')
      }),
  },
  {
    id: 'check.expectation',
    title: 'a check against addresses that the attachment does not have fails',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.attach(0), await session.attach(1)]
        if (first.ips.length === 0) throw new CaseSkipped('the network assigns no addresses')
        const wrong = session.checkRequest(0, { ...first, ips: second.ips })
        await assertRefused(session.adapter.check(wrong, freshContext()), ['CHECK_FAILED'], 'check against the addresses of another pod')
      }),
  },
  {
    id: 'restart.keeps',
    title: 'attachments outlive the adapter: listed, checked, reachable, with the same result, and their addresses not given out again',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.connect(0), await session.connect(1)]
        await session.restart()
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'attachments listed after the restart')
        await session.adapter.check(session.checkRequest(0, first), freshContext())
        await assertReach(session, 0, addressesOf(second), true)
        assert.deepEqual(await session.attach(0), first, 'the result of attaching again')
        assertUnique([first, second, ...(session.room > 2 ? [await session.attach(2)] : [])])
        await session.detach(0)
        await session.detach(1)
        assert.deepEqual(
          await session.listed(),
          session.room > 2 ? session.keys(2) : [],
          'attachments listed after what was made before the restart was detached',
        )
      }),
  },
  {
    id: 'restart.remembered',
    title: 'what the adapter remembers is what it was asked for and what it answered',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        if (session.adapter.remembered === undefined) throw new CaseSkipped('the adapter keeps nothing that an agent could ask for')
        const results = [await session.attach(0), await session.attach(1), await session.attach(0)].slice(0, 2)
        await session.restart()
        const remembered = await session.remembered()
        const expected = results.map((result, index) => ({ request: session.request(index), result }))
        assert.deepEqual(remembered.toSorted(byKey), expected.toSorted(byKey), 'after a restart')
        await session.detach(0)
        assert.deepEqual((await session.remembered()).map(id), session.keys(1), 'after one was detached')
      }),
  },
  {
    id: 'restart.lost-state',
    title: 'an adapter that has lost its state has running pods again from what the agent knows, and gives their addresses to nobody else',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const { loseState } = fixture
        if (loseState === undefined) throw new CaseSkipped('the fixture has no state to lose')
        const [first, second] = [await session.connect(0), await session.connect(1)]
        await session.restartWithoutState(() => loseState(), [first, second])
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'attachments listed afterwards')
        await assertReach(session, 0, addressesOf(second), true)
        await session.adapter.check(session.checkRequest(0, first), freshContext())
        assert.deepEqual(await session.attach(0), first, 'the result of attaching again')
        assertUnique([first, second, ...(session.room > 2 ? [await session.attach(2)] : [])])
        for (const index of session.room > 2 ? [0, 1, 2] : [0, 1]) await session.detach(index)
        assert.deepEqual(await session.listed(), [], 'attachments listed after all were detached')
      }),
  },
]

const id = ({ request }: RememberedAttachment): string => formatAttachmentKey(request.key)
const byKey = (a: RememberedAttachment, b: RememberedAttachment): number => id(a).localeCompare(id(b))
