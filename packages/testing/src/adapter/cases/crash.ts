import assert from 'node:assert/strict'
import type { AttachRequest } from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { together } from '../../kit/expect.ts'
import { crashAdapter } from '../crash/crash-adapter.ts'
import type { CrashOrder } from '../crash/order.ts'
import type { AdapterFixture } from '../fixture.ts'
import { inSession } from '../session.ts'
import { assertUnique, range } from './support.ts'

/** What must hold when the agent is killed while the adapter works. */
export const crashCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'crash.attach',
    title: 'killed at any of its steps during attach, it can be detached, or attached again and detached, and nothing is lost',
    patience: 4,
    run: (fixture) => killedAtEachStep(fixture, ['attach']),
  },
  {
    id: 'crash.detach',
    title: 'killed at any of its steps during detach, it can be detached again, and nothing is lost',
    patience: 4,
    run: (fixture) => killedAtEachStep(fixture, ['attach', 'detach']),
  },
]

async function killedAtEachStep(fixture: AdapterFixture, calls: CrashOrder['calls']): Promise<void> {
  const order = { ...(await orderOf(fixture)), calls }
  const steps: string[] = []
  const next = (): Promise<string | undefined> => crashAdapter(order, { occurrence: steps.length + 1 })
  for (let step = await next(); step !== undefined; step = await next()) {
    steps.push(step)
    await inSession(fixture, async (session) => {
      if (calls.length === 1 && steps.length % 2 === 0) {
        await session.attach(0)
        assert.deepEqual(await session.listed(), session.keys(0), `what is listed after it was killed at ${step} and attached again`)
      }
      await session.detach(0)
      assert.deepEqual(await session.listed(), [], `what is listed after it was killed at ${step} and detached`)
      // An address that is lost is missing here, and one that is nobody's any more would be there twice.
      const all = range(session.room)
      assertUnique(await together(all.map((index) => session.attach(index))))
      await together(all.map((index) => session.detach(index)))
    })
  }
  // The last one was not killed.
  await inSession(fixture, (session) => session.detach(0))
  if (steps.length === 0) throw new CaseSkipped('the adapter names no steps (reached of @cni-offload/sdk/runtime)')
}

async function orderOf(fixture: AdapterFixture): Promise<Omit<CrashOrder, 'calls'>> {
  if (fixture.process === undefined) throw new CaseSkipped('the fixture does not say how another process makes the adapter ("process")')
  let requests: readonly AttachRequest[] = []
  await inSession(fixture, (session) => {
    requests = range(fixture.ports.length).map((index) => session.request(index))
    return Promise.resolve()
  })
  return { ...fixture.process, requests }
}
