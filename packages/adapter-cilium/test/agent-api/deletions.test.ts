import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AttachmentKey, type Logger, OffloadError, silentLogger } from '@cni-offload/sdk'
import { FakeCiliumAgent, NO_LIMITS } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AddressBook } from '../../src/agent-api/address-book.ts'
import { Deletions } from '../../src/agent-api/deletions.ts'
import { ApiPolicy, CiliumClient, NO_PATIENCE } from '../../src/index.ts'
import { AddressHolders } from '../../src/splice/address-holders.ts'
import { AttachmentStore } from '../../src/state/attachment-store.ts'
import { ManualClock } from '../clocks.ts'

const LATE_MS = 20_000
const POLL = { timeout: 20_000 }
const RANGES = { ipv4: '10.66.0.0/28' }
const OWNER = 'n/web-0'

let folder: string
let agent: FakeCiliumAgent
let clock: ManualClock
let store: AttachmentStore
let client: CiliumClient
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deletions-'))
  agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock'), limits: NO_LIMITS, ranges: RANGES })
  clock = new ManualClock()
  store = new AttachmentStore(join(folder, 'cilium.db'), clock)
  client = new CiliumClient({ socket: agent.socket, policy: new ApiPolicy(clock, () => 0), requestTimeoutMs: 20_000 })
})
afterEach(async () => {
  store[Symbol.dispose]()
  await agent[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const keyOf = (containerId: string): AttachmentKey => ({ network: 'podnet', containerId, ifName: 'eth0' })
const [OLD, NEW] = [keyOf('old'), keyOf('new')]
const caller = { signal: new AbortController().signal, log: silentLogger, patience: NO_PATIENCE }
/** Of mode `agent-api`, where all addresses are on record, or with the holders of mode `splice`. */
const deletionsOf = (holders?: AddressHolders, log: Logger = silentLogger): Deletions => {
  const addresses = new AddressBook(client, holders ?? store)
  return new Deletions({ client, store, addresses, clock, log, random: () => 0, recorded: holders === undefined })
}
/** As whoever is killed right after the answer. */
const take = async (owner: string): Promise<string> => (await client.allocate(owner, caller)).ipv4?.ip ?? ''
const record = (key: AttachmentKey, ...ips: string[]): void => {
  const port = { name: key.containerId, vf: { device: 'd', index: 0 } }
  const pod = { namespace: 'n', name: 'web-0', uid: '' }
  const plain = { netconf: {}, runtimeConfig: {}, cniArgs: {}, flags: { ipsec: false }, vfMac: '02:00:00:00:00:01' }
  store.put({ request: { key, pod, port, ...plain }, ips })
}
const held = (): string[] => Object.keys(agent.allocations)

it('a disk that cannot be read does not end the work on what is due: it goes on when the disk does', async () => {
  store.postpone({ key: OLD, owner: OWNER, ips: [] })
  const read = vi.spyOn(store, 'deletions')
  for (let n = 0; n < 2; n++)
    read.mockImplementationOnce(() => {
      throw new OffloadError('JOURNAL_FAILURE', 'cannot read the journal: disk I/O error')
    })
  const told = vi.fn<(fields: unknown, message?: string) => void>()
  await using deletions = deletionsOf(undefined, { ...silentLogger, error: told })
  deletions.start()
  for (let failures = 1; failures <= 2; failures++) {
    await expect.poll(() => [told.mock.calls.length, clock.sleeping], POLL).toEqual([failures, 1])
    expect(agent.count('DELETE /endpoint/{id}')).toBe(0)
    clock.advance(30_000)
  }
  await expect.poll(() => store.deletions(), POLL).toEqual([])
  expect(agent.count('DELETE /endpoint/{id}')).toBe(1)
  expect(told.mock.calls[0]?.[0]).toMatchObject({ error: { code: 'JOURNAL_FAILURE' } })
})

describe('an endpoint that may still appear', () => {
  it('is looked for once more just when that is over', async () => {
    await using deletions = deletionsOf()
    deletions.start()
    await deletions.delete({ key: OLD, owner: OWNER, ips: [] }, true, caller)
    await expect.poll(() => clock.sleeping, POLL).toBe(1)
    clock.advance(LATE_MS - 1)
    await expect.poll(() => clock.sleeping, POLL).toBe(1)
    expect(agent.count('DELETE /endpoint/{id}')).toBe(1)
    clock.advance(1)
    await expect.poll(() => store.deletions(), POLL).toEqual([])
    expect(agent.count('DELETE /endpoint/{id}')).toBe(2)
  })

  it('is not passed over when that ends just while it is looked for what is due', async () => {
    await using deletions = deletionsOf()
    store.postpone({ key: OLD, owner: OWNER, ips: [], notBefore: 1 })
    const rows = store.deletions()
    const passing = (): typeof rows => {
      clock.advance(1)
      return rows
    }
    vi.spyOn(store, 'deletions').mockReturnValueOnce(rows).mockImplementationOnce(passing)
    deletions.start()
    const left = (): unknown => {
      clock.advance(0)
      return store.deletions()
    }
    await expect.poll(left, POLL).toEqual([])
  })

  it('does not keep other deletions waiting', async () => {
    await using deletions = deletionsOf()
    deletions.start()
    await deletions.delete({ key: OLD, owner: OWNER, ips: [] }, true, caller)
    await expect.poll(() => clock.sleeping, POLL).toBe(1)
    agent.faults.add({ operation: 'DELETE /endpoint/{id}', effect: { kind: 'answer', status: 503 } })
    await deletions.delete({ key: NEW, owner: OWNER, ips: [] }, false, caller)
    await expect.poll(() => store.deletions().map(({ key }) => key), POLL).toEqual([OLD])
  })
})

describe('addresses that nobody has put on record, because whoever took them was killed', () => {
  it('go with their attachment, but not those of other attachments or owners', async () => {
    await using deletions = deletionsOf()
    await take(OWNER)
    const others = [await take(OWNER), await take('n/web-1')]
    record(NEW, others[0] ?? '')
    await deletions.delete({ key: OLD, owner: OWNER, ips: [] }, true, caller)
    expect(held()).toEqual(others)
  })

  it('go also where the agent has not taken stock since and the attachment was made anew, which keeps its own', async () => {
    await using deletions = deletionsOf()
    await take(OWNER)
    const stale = { cilium: { state: 'Ok' }, ipam: { allocations: {} } }
    agent.faults.add({ operation: 'GET /healthz', times: 2, effect: { kind: 'answer', status: 200, body: stale } })
    await deletions.delete({ key: OLD, owner: OWNER, ips: [] }, true, caller)
    await deletions.settle(OLD, caller)
    const own = await take(OWNER)
    record(OLD, own)
    expect(held()).toHaveLength(2)
    deletions.start()
    await expect.poll(() => clock.sleeping, POLL).toBe(1)
    clock.advance(LATE_MS)
    await expect.poll(() => store.deletions(), POLL).toEqual([])
    expect(held()).toEqual([own])
    expect(store.get(OLD), 'what lives is not deleted').toBeDefined()
    expect(agent.count('DELETE /endpoint/{id}')).toBe(2)
  })

  it('stay where they are those that a running pod is about to get back', async () => {
    await using deletions = deletionsOf()
    const ip = await take(OWNER)
    store.postpone({ key: OLD, owner: OWNER, ips: [ip] })
    await deletions.settle(OLD, caller, [ip])
    expect(held()).toEqual([ip])
  })

  describe('in mode splice, where a plugin takes them,', () => {
    it('are not looked for before it is over what it was about', async () => {
      const holders = new AddressHolders()
      await using deletions = deletionsOf(holders)
      const ip = await take(OWNER)
      await deletions.delete({ key: OLD, owner: OWNER, ips: [] }, true, caller)
      expect(held()).toEqual([ip])
      clock.advance(LATE_MS)
      await deletions.settle(OLD, caller)
      expect([held(), store.deletions()]).toEqual([[], []])
    })

    it('stay while another plugin is taking some for the same pod, and where a running pod has them', async () => {
      const holders = new AddressHolders()
      const giveBack = async (): Promise<void> =>
        await new AddressBook(client, holders).giveBack({ key: OLD, owner: OWNER, ips: [] }, true, caller)
      const [ip, kept] = [await take(OWNER), await take(OWNER)]
      holders.set(NEW, OWNER, [`${kept}/32`])
      {
        using _first = holders.take(OWNER)
        using _second = holders.take('n/web-1')
        {
          using _third = holders.take(OWNER)
        }
        await giveBack()
        expect(held()).toEqual([ip, kept])
      }
      await giveBack()
      expect(held()).toEqual([kept])
    })
  })
})
