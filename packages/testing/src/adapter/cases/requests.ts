import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { askedVfSettings, type AttachResult, OffloadError, silentLogger, type VfAdminSetting } from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { abortedContext, assertRefused, together } from '../../kit/expect.ts'
import type { AdapterFixture } from '../fixture.ts'
import { addressesOf, inSession, type Session } from '../session.ts'
import { assertReach, assertUnique, range } from './support.ts'

/** After how many turns of the event loop an attach is aborted: before, in the middle of and after its first system calls. */
const ABORT_TURNS = [0, 1, 2, 3, 5, 8, 13, 21]

const HOST_IPAM: Pick<AttachResult, 'ips' | 'routes' | 'dns'> = { ips: [{ address: '198.51.100.7/24' }], routes: [], dns: {} }

/** What hosts are able to enforce: one of before, and two whose drivers make different settings. */
const HOSTS: readonly (readonly VfAdminSetting[])[] = [[], ['mac', 'vlan'], ['rate', 'spoofCheck', 'trust', 'linkState']]

/** Attaches with a wish that the adapter may refuse; undefined if it did. Ignoring the wish is what the caller looks for. */
async function attachOrRefuse(session: Session, index: number, wish: Parameters<Session['connect']>[1]): Promise<AttachResult | undefined> {
  try {
    return await session.connect(index, wish)
  } catch (error) {
    assert.ok(OffloadError.is(error), `refuses with an OffloadError, not with ${String(error)}`)
    assert.equal(error.code, 'UNSUPPORTED_FIELD', `the code of the refusal (${error.message})`)
    assert.deepEqual(await session.listed(), [], 'attachments listed after the refusal')
    return undefined
  }
}

/** Wishes that are honoured or refused but never ignored, and callers that give up. */
export const requestCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'request.mac',
    title: 'an adapter that declares fixedMac gives the MAC that runtimeConfig asks for',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const { capabilities } = session.adapter
        if (!capabilities.fixedMac) throw new CaseSkipped('the adapter does not declare fixedMac')
        const mac = '02:c0:ff:ee:02:01'
        const second = await session.connect(1)
        const result = await session.connect(0, { runtimeConfig: { mac } })
        assert.equal(result.mac, mac, 'MAC of the result')
        await assertReach(session, 0, addressesOf(second), true)
      }),
  },
  {
    id: 'request.ips',
    title: 'an adapter that declares the capability ips gives the addresses that runtimeConfig asks for',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        if (!session.adapter.capabilities.runtimeConfig.includes('ips'))
          throw new CaseSkipped('the adapter does not declare the capability ips')
        const ips = fixture.requestableIps
        if (ips === undefined) throw new CaseSkipped('the fixture names no addresses that could be asked for')
        const result = await session.connect(0, { runtimeConfig: { ips } })
        assert.deepEqual(result.ips.map(({ address }) => address).toSorted(), ips.toSorted(), 'addresses of the result')
      }),
  },
  {
    id: 'request.host-ipam',
    title: "addresses of the host's IPAM are assigned exactly, or refused with UNSUPPORTED_FIELD",
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const hostIpam = fixture.hostIpam ?? HOST_IPAM
        const result = await attachOrRefuse(session, 0, { hostIpam })
        if (result !== undefined) assert.deepEqual(result.ips, hostIpam.ips, 'addresses of the result')
      }),
  },
  {
    id: 'request.vlan',
    title: 'a pod with a VLAN is apart from pods without, or it is refused with UNSUPPORTED_FIELD',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const tagged = await attachOrRefuse(session, 0, { vlan: 100 })
        if (tagged === undefined) return
        const untagged = await session.connect(1)
        if (untagged.ips.length === 0) throw new CaseSkipped('the network assigns no addresses')
        await assertReach(session, 0, addressesOf(untagged), false)
      }),
  },
  {
    id: 'request.host-enforces',
    title: "the host's physical function is asked for nothing that hostEnforces does not name",
    run: (fixture) =>
      inSession(fixture, async (session) => {
        for (const hostEnforces of HOSTS) {
          const { vf } = await session.attach(0, hostEnforces.length === 0 ? {} : { hostEnforces })
          const beyond = askedVfSettings(vf).filter((setting) => !hostEnforces.includes(setting))
          assert.deepEqual(beyond, [], `asked of a host that enforces ${hostEnforces.join(', ') || 'nothing'}`)
          await session.detach(0)
        }
      }),
  },
  {
    id: 'abort.refused',
    title: 'with an aborted signal attach rejects with CANCELLED and leaves nothing',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        await assertRefused(session.attach(0, {}, abortedContext()), ['CANCELLED'], 'attach with an aborted signal')
        assert.deepEqual(await session.listed(), [], 'attachments listed')
      }),
  },
  {
    id: 'abort.midway',
    title: 'an attach that is aborted at any moment leaves nothing that detach does not remove, not even an address',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        for (const turns of ABORT_TURNS) {
          const caller = new AbortController()
          const outcome = session.attach(0, {}, { signal: caller.signal, log: silentLogger }).catch((error: unknown) => error)
          for (let turn = 0; turn < turns; turn += 1) await nextTurn()
          caller.abort(new OffloadError('CANCELLED', 'the caller gave up'))
          const answer = await outcome
          assert.ok(
            !(answer instanceof Error) || OffloadError.is(answer),
            `aborted after ${turns} turns: an OffloadError, not ${String(answer)}`,
          )
          await session.detach(0)
          assert.deepEqual(await session.listed(), [], `attachments listed after an abort after ${turns} turns`)
        }
        assertUnique(await together(range(session.room).map((index) => session.attach(index))))
      }),
  },
]
