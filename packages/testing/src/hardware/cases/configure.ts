import assert from 'node:assert/strict'
import {
  formatVfId,
  type HostDevice,
  type OpContext,
  VF_ADMIN_SETTINGS,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
} from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { assertRefused, freshContext } from '../../kit/expect.ts'
import { TestNetns } from '../../net/test-netns.ts'
import type { HardwareFixture } from '../fixture.ts'
import { functionOf, giveTo, vfAt } from '../helpers.ts'

/** Two values of each setting: whatever a function has, one of them is another. */
const SAMPLES: Readonly<Record<VfAdminSetting, readonly [VfAdminSettings, VfAdminSettings]>> = {
  mac: [{ mac: '02:c0:ff:ee:03:01' }, { mac: '02:c0:ff:ee:03:02' }],
  vlan: [{ vlan: { id: 100, qos: 0, protocol: '802.1q' } }, { vlan: { id: 200, qos: 3, protocol: '802.1q' } }],
  rate: [
    { minTxRate: 0, maxTxRate: 100 },
    { minTxRate: 0, maxTxRate: 200 },
  ],
  spoofCheck: [{ spoofCheck: true }, { spoofCheck: false }],
  trust: [{ trust: true }, { trust: false }],
  linkState: [{ linkState: 'enable' }, { linkState: 'disable' }],
}

/** Settings of some kinds. @param which - of the two of each kind */
export const sample = (settings: readonly VfAdminSetting[], which: 0 | 1): VfAdminSettings =>
  Object.assign({}, ...settings.map((setting) => SAMPLES[setting][which])) as VfAdminSettings

/** What a backend offers for a function, and how it is asked for. */
export interface Offer {
  readonly vf: VfId
  readonly admin: readonly VfAdminSetting[]
  readonly configure: (settings: VfAdminSettings) => Promise<void>
  readonly deviations: (settings: VfAdminSettings) => Promise<string[]>
}

const bound = <K extends 'configure' | 'deviations'>(host: HostDevice, method: K, vf: VfId): NonNullable<HostDevice[K]> => {
  const own = host[method] as ((of: VfId, settings: VfAdminSettings, ctx: OpContext) => unknown) | undefined
  assert.ok(own !== undefined, `${formatVfId(vf)} offers settings, so ${method} is there`)
  return own.bind(host) as NonNullable<HostDevice[K]>
}

/** What is offered for a function; skips the case if nothing is. */
export async function offerOf(fixture: HardwareFixture, index: number = 0): Promise<Offer> {
  const { host } = fixture
  const vf = vfAt(fixture.vfs, index)
  const { admin = [] } = functionOf(await host.discover(freshContext()), vf).capabilities
  if (admin.length === 0) throw new CaseSkipped('the hardware offers no setting of a function that its physical function makes')
  const [configure, deviations] = [bound(host, 'configure', vf), bound(host, 'deviations', vf)]
  return {
    vf,
    admin,
    configure: (settings) => configure(vf, settings, freshContext()),
    deviations: (settings) => deviations(vf, settings, freshContext()),
  }
}

/** All that can be known of how a function is set: what the backend says, and what the fixture sees if it can. */
export async function stateOf(fixture: HardwareFixture, { vf, admin, deviations }: Offer): Promise<unknown> {
  const told = [...(await deviations(sample(admin, 0))), ...(await deviations(sample(admin, 1)))]
  return { told, seen: await fixture.enforced?.(vf) }
}

/** Asserts that settings are so, by what the backend says and by what the fixture sees. */
async function assertEnforced(fixture: HardwareFixture, { vf, admin, deviations }: Offer, which: 0 | 1, what: string): Promise<void> {
  assert.deepEqual(await deviations(sample(admin, which)), [], `${what}: nothing differs from what was asked for`)
  const others = sample(admin, which === 0 ? 1 : 0)
  assert.ok((await deviations(others)).length >= admin.length, `${what}: each of ${admin.join(', ')} differs from what was not asked for`)
  const seen = await fixture.enforced?.(vf)
  if (seen !== undefined) assert.deepEqual({ ...seen, ...sample(admin, which) }, seen, `${what}: the physical function makes it so`)
}

/** What a physical function makes of its virtual ones. */
export const configureCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'configure.refused',
    title: 'a setting that is not offered is a HARDWARE_FAILURE that names it, and changes nothing',
    async run(fixture) {
      const { host } = fixture
      const vf = vfAt(fixture.vfs, 0)
      const { admin = [] } = functionOf(await host.discover(freshContext()), vf).capabilities
      assert.deepEqual([...new Set(admin)], admin, 'what is offered is offered once')
      const [beyond] = VF_ADMIN_SETTINGS.filter((setting) => !admin.includes(setting))
      if (host.configure === undefined) {
        assert.deepEqual(admin, [], 'what is offered without configure')
        throw new CaseSkipped('the hardware has no settings of functions that a physical function makes')
      }
      if (beyond === undefined) throw new CaseSkipped('the hardware offers all settings')
      const before = await fixture.enforced?.(vf)
      for (const which of [0, 1] as const) {
        const error = await assertRefused(
          host.configure(vf, sample([beyond], which), freshContext()),
          ['HARDWARE_FAILURE'],
          `configure of ${beyond}, which is not offered`,
        )
        assert.ok(error.message.includes(beyond), `the message names ${beyond}: ${error.message}`)
      }
      assert.deepEqual(await fixture.enforced?.(vf), before, 'what the physical function makes of it')
    },
  },
  {
    id: 'configure.makes',
    title: 'settings that are offered are made, one after another and over each other, and those of other functions stay',
    async run(fixture) {
      const [offer, other] = [await offerOf(fixture), await offerOf(fixture, 1)]
      const before = await stateOf(fixture, other)
      for (const which of [0, 1, 0] as const) {
        await offer.configure(sample(offer.admin, which))
        await assertEnforced(fixture, offer, which, 'configured')
      }
      assert.deepEqual(await stateOf(fixture, other), before, 'another function')
      await fixture.host.release(offer.vf, {}, freshContext())
    },
  },
  {
    id: 'configure.alone',
    title: 'each setting can be made alone: the others stay as they are',
    async run(fixture) {
      const offer = await offerOf(fixture)
      await offer.configure(sample(offer.admin, 0))
      for (const setting of offer.admin) {
        await offer.configure(sample([setting], 1))
        const rest = offer.admin.filter((name) => name !== setting)
        assert.deepEqual(await offer.deviations({ ...sample(rest, 0), ...sample([setting], 1) }), [], `only ${setting} was asked for`)
        await offer.configure(sample([setting], 0))
      }
      await assertEnforced(fixture, offer, 0, 'set back one by one')
      await fixture.host.release(offer.vf, {}, freshContext())
    },
  },
  {
    id: 'configure.twice',
    title: 'asking again for what is so already changes nothing, and asking for nothing neither',
    async run(fixture) {
      const offer = await offerOf(fixture)
      const before = await stateOf(fixture, offer)
      await offer.configure({})
      assert.deepEqual(await offer.deviations({}), [], 'nothing differs from nothing')
      assert.deepEqual(await stateOf(fixture, offer), before, 'nothing was asked for')
      for (let times = 0; times < 2; times++) await offer.configure(sample(offer.admin, 1))
      await assertEnforced(fixture, offer, 1, 'configured twice')
      await fixture.host.release(offer.vf, {}, freshContext())
      assert.deepEqual(await stateOf(fixture, offer), before, 'released')
    },
  },
  {
    id: 'configure.in-pod',
    title: 'a function that is in a pod can be configured, and its release brings back what was before',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      const offer = await offerOf(fixture)
      const before = await stateOf(fixture, offer)
      await giveTo(fixture, offer.vf, {}, pod.path, 'eth0')
      assert.deepEqual(await stateOf(fixture, offer), before, 'given to a pod, and not configured')
      for (const which of [0, 1] as const) {
        await offer.configure(sample(offer.admin, which))
        await assertEnforced(fixture, offer, which, 'configured in the pod')
      }
      await fixture.host.release(offer.vf, { netns: pod.path, ifName: 'eth0' }, freshContext())
      assert.deepEqual(await stateOf(fixture, offer), before, 'released')
      // What is remembered of the first time does not count for the second.
      await offer.configure(sample(offer.admin, 0))
      await fixture.host.release(offer.vf, {}, freshContext())
      assert.deepEqual(await stateOf(fixture, offer), before, 'configured and released again')
    },
  },
  {
    id: 'configure.after-restart',
    title: 'a backend that starts while a function is configured offers the same, and brings back what was before',
    async run(fixture) {
      await using pod = await TestNetns.create(fixture.net, 'hwk')
      await using restarted = new AsyncDisposableStack()
      let now = fixture
      for (const alsoAfter of [false, true]) {
        const offer = await offerOf(now)
        const before = await stateOf(now, offer)
        await giveTo(now, offer.vf, {}, pod.path, 'eth0')
        await offer.configure(sample(offer.admin, 0))
        const host = await fixture.restartHost()
        restarted.defer(async () => await host[Symbol.asyncDispose]?.())
        now = { ...fixture, host }
        const again = await offerOf(now)
        assert.deepEqual(again.admin, offer.admin, 'what is offered')
        await assertEnforced(now, again, 0, 'after a restart')
        if (alsoAfter) await again.configure(sample(offer.admin, 1))
        await host.release(offer.vf, { netns: pod.path, ifName: 'eth0' }, freshContext())
        assert.deepEqual(await stateOf(now, again), before, 'released by another instance')
      }
    },
  },
]
