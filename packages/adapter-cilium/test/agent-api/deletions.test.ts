import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError, silentLogger } from '@cni-offload/sdk'
import { FakeCiliumAgent, NO_LIMITS } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { AddressBook } from '../../src/agent-api/address-book.ts'
import { Deletions } from '../../src/agent-api/deletions.ts'
import { ApiPolicy, CiliumClient } from '../../src/index.ts'
import { AttachmentStore } from '../../src/state/attachment-store.ts'
import { ManualClock } from '../clocks.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'deletions-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('a disk that cannot be read does not end the work on what is due: it goes on when the disk does', async () => {
  await using agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock'), limits: NO_LIMITS })
  const clock = new ManualClock()
  using store = new AttachmentStore(join(folder, 'cilium.db'), clock)
  store.postpone({ key: { network: 'podnet', containerId: 'c1', ifName: 'eth0' }, owner: 'n/c1', ips: [] })
  const read = vi.spyOn(store, 'deletions')
  for (let n = 0; n < 2; n++)
    read.mockImplementationOnce(() => {
      throw new OffloadError('JOURNAL_FAILURE', 'cannot read the journal: disk I/O error')
    })
  const told = vi.fn<(fields: unknown, message?: string) => void>()
  const client = new CiliumClient({ socket: agent.socket, policy: new ApiPolicy(clock, () => 0), requestTimeoutMs: 20_000 })
  const addresses = new AddressBook(client, store)
  await using deletions = new Deletions({ client, store, addresses, clock, log: { ...silentLogger, error: told }, random: () => 0 })
  deletions.start()
  for (let failures = 1; failures <= 2; failures++) {
    await expect.poll(() => [told.mock.calls.length, clock.sleeping], { timeout: 20_000 }).toEqual([failures, 1])
    expect(agent.count('DELETE /endpoint/{id}')).toBe(0)
    clock.advance(30_000)
  }
  await expect.poll(() => store.deletions(), { timeout: 20_000 }).toEqual([])
  expect(agent.count('DELETE /endpoint/{id}')).toBe(1)
  expect(told.mock.calls[0]?.[0]).toMatchObject({ error: { code: 'JOURNAL_FAILURE' } })
})
