import assert from 'node:assert/strict'
import { formatVfId, type VfId, type VirtualFunction } from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import type { HardwareFixture } from '../fixture.ts'
import { assertPristine, functionOf, pristineState, vfAt } from '../helpers.ts'
import { offerOf, sample, stateOf } from './configure.ts'

/** Gives a function to programs for as long as something lasts. */
async function given(fixture: HardwareFixture, vf: VfId): Promise<AsyncDisposable> {
  const taking = await fixture.giveToPrograms?.(vf)
  if (taking === undefined) throw new CaseSkipped('the fixture cannot give a function to a userspace driver')
  return taking
}

const others = (functions: readonly VirtualFunction[], vf: VfId): VirtualFunction[] =>
  functions.filter(({ id }) => formatVfId(id) !== formatVfId(vf))

function assertTold(functions: readonly VirtualFunction[], before: readonly VirtualFunction[], vf: VfId, by: string): void {
  const { netdev: _away, ...was } = functionOf(before, vf)
  const { userspace, ...now } = functionOf(functions, vf)
  assert.ok(userspace !== undefined && userspace !== '', `${by} names the userspace driver of ${formatVfId(vf)}`)
  assert.deepEqual(now, was, `${by}: but for its interface it is as it was, and healthy`)
  assert.deepEqual(others(functions, vf), others(before, vf), `${by}: the other functions`)
}

/** Functions that a userspace driver has. */
export const programCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'programs.told',
    title: 'a function that a userspace driver has is told as such, is healthy, and cannot be acquired; taken back, it is as any',
    async run(fixture) {
      const { host } = fixture
      const vf = vfAt(fixture.vfs, 0)
      const before = await host.discover(freshContext())
      {
        await using _program = await given(fixture, vf)
        assertTold(await host.discover(freshContext()), before, vf, 'discover')
        await assertRefused(host.acquire(vf, {}, freshContext()), ['HARDWARE_FAILURE'], 'acquire of a function without an interface')
        const restarted = await fixture.restartHost()
        assertTold(await restarted.discover(freshContext()), before, vf, 'another instance')
        await restarted[Symbol.asyncDispose]?.()
      }
      assert.deepEqual(await host.discover(freshContext()), before, 'after it was taken back')
      await host.acquire(vf, {}, freshContext())
      await host.release(vf, {}, freshContext())
    },
  },
  {
    id: 'programs.release',
    title:
      'release leaves a function with its userspace driver, any number of times, and brings back what its physical function made of it',
    async run(fixture) {
      const { host } = fixture
      const vf = vfAt(fixture.vfs, 0)
      const [was] = await pristineState(fixture)
      const before = await host.discover(freshContext())
      const offer = await offerOf(fixture).catch((error: unknown) => {
        if (error instanceof CaseSkipped) return undefined
        throw error
      })
      {
        await using _program = await given(fixture, vf)
        const settings = offer && (await stateOf(fixture, offer))
        await offer?.configure(sample(offer.admin, 0))
        await offer?.configure(sample(offer.admin, 1))
        for (const from of [{}, { netns: '/run/netns/nowhere', ifName: 'eth0' }]) {
          await host.release(vf, from, freshContext())
          assertTold(await host.discover(freshContext()), before, vf, 'discover after release')
          assert.deepEqual(offer && (await stateOf(fixture, offer)), settings, 'what the physical function makes of it')
        }
      }
      if (was !== undefined) await assertPristine(fixture, was, 'taken back')
    },
  },
]
