import assert from 'node:assert/strict'
import { type AttachResult, OffloadError } from '@cni-offload/sdk'
import { CaseSkipped, type ComplianceCase } from '../../kit/case.ts'
import { freshContext, together } from '../../kit/expect.ts'
import { reaches } from '../../net/ping.ts'
import type { AdapterFixture } from '../fixture.ts'
import { addressesOf, inSession } from '../session.ts'
import { assertReach, assertUnique, range } from './support.ts'

/** What an attachment must give. */
export const attachCases: readonly ComplianceCase<AdapterFixture>[] = [
  {
    id: 'attach.valid',
    title: 'the result keeps its schema, is in normal form, and has addresses of declared families only',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const raw = await session.adapter.attach(session.request(0), freshContext())
        assert.deepEqual(await session.attach(0), raw, 'the result after parsing, for example the MAC in lower case')
        for (const address of addressesOf(raw)) {
          const family = address.includes(':') ? 'ipv6' : 'ipv4'
          assert.ok(session.adapter.capabilities.families.includes(family), `${address}: the adapter declares ${family}`)
        }
        for (const { dst, gw } of raw.routes)
          assert.ok(gw === undefined || gw.includes(':') === dst.includes(':'), `route to ${dst} has a gateway of its family, not ${gw}`)
      }),
  },
  {
    id: 'attach.pods-reach',
    title: 'two pods reach each other at every address, both ways',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.connect(0), await session.connect(1)]
        if (first.ips.length === 0) throw new CaseSkipped('the network assigns no addresses')
        // A pod that shares its address with another one would reach itself.
        assertUnique([first, second])
        await assertReach(session, 0, addressesOf(second), true)
        await assertReach(session, 1, addressesOf(first), true)
      }),
  },
  {
    id: 'attach.gateway',
    title: 'a pod reaches every gateway that its result names',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const { ips } = await session.connect(0)
        const gateways = ips.flatMap(({ gateway }) => gateway ?? [])
        if (gateways.length === 0) throw new CaseSkipped('the network has no gateway')
        await assertReach(session, 0, gateways, true)
      }),
  },
  {
    id: 'attach.mtu',
    title: 'packets as large as the MTU of the result pass unfragmented',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [{ mtu }, second] = [await session.connect(0), await session.connect(1)]
        if (second.ips.length === 0) throw new CaseSkipped('the network assigns no addresses')
        for (const address of addressesOf(second)) {
          const size = mtu - (address.includes(':') ? 48 : 28)
          assert.ok(
            await reaches(session.port(0).pod.path, address, { size, dontFragment: true }),
            `${address} answers to a packet of ${mtu} bytes`,
          )
        }
      }),
  },
  {
    id: 'attach.idempotent',
    title: 'a repeated attach gives the same result, is listed once and keeps the traffic flowing',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const first = await session.connect(0)
        const second = await session.connect(1)
        assert.deepEqual(await session.attach(0), first, 'the result of the second attach')
        assert.deepEqual(await session.listed(), session.keys(0, 1), 'attachments listed')
        await assertReach(session, 1, addressesOf(first), true)
        await assertReach(session, 0, addressesOf(second), true)
      }),
  },
  {
    id: 'attach.parallel',
    title: 'attachments made at the same time are all listed, and no two have an address in common',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const all = range(session.room)
        assertUnique(await together(all.map((index) => session.attach(index))))
        assert.deepEqual(await session.listed(), session.keys(...all), 'attachments listed')
        await together(all.map((index) => session.detach(index)))
        assert.deepEqual(await session.listed(), [], 'attachments listed after all were detached at the same time')
      }),
  },
  {
    id: 'attach.had',
    title: 'a running pod gets exactly the MAC and addresses that it has, or is refused, and no other pod gets them',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const [first, second] = [await session.attach(0), await session.attach(1)]
        await session.detach(0)
        await session.detach(1)
        // In the other order and with another MAC, so that equal answers are no accident.
        const again = async (index: number, before: AttachResult): Promise<void> => {
          const had = { ...before, mac: `02:c0:ff:ee:03:0${index}` }
          const result = await session.connect(index, { had }).catch((error: unknown) => {
            throw OffloadError.is(error) && error.code === 'UNSUPPORTED_FIELD' ? new CaseSkipped(error.message) : error
          })
          assert.deepEqual([result.mac, ...addressesOf(result).toSorted()], [had.mac, ...addressesOf(had).toSorted()], 'MAC and addresses')
        }
        await again(1, second)
        await again(0, first)
        await assertReach(session, 0, addressesOf(second), true)
        await session.restart()
        const others = range(session.room).slice(2)
        assertUnique([first, second, ...(await together(others.map((index) => session.attach(index))))])
      }),
  },
  {
    id: 'attach.two-interfaces',
    title: 'two interfaces of one pod are two attachments that live and die on their own',
    run: (fixture) =>
      inSession(fixture, async (session) => {
        const { key } = session.request(0)
        const second = { key: { ...key, ifName: 'net1' } }
        assertUnique([await session.attach(0), await session.attach(1, second)])
        assert.equal((await session.listed()).length, 2, 'attachments listed')
        await session.detach(0)
        assert.deepEqual(
          await session.listed(),
          [`${key.network}/${key.containerId}/net1`],
          'what is listed after the first interface was detached',
        )
        await session.detach(1, second)
        assert.deepEqual(await session.listed(), [], 'what is listed after both were detached')
      }),
  },
]
