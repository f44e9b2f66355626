import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StatementSync } from 'node:sqlite'
import { type AttachmentKey, formatAttachmentKey, silentLogger } from '@cni-offload/sdk'
import { FakeCiliumAgent, NO_LIMITS } from '@cni-offload/testing/cilium'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AddressBook } from '../../src/agent-api/address-book.ts'
import { ApiPolicy, CiliumClient, NO_PATIENCE } from '../../src/index.ts'
import { AttachmentStore, type StoredAttachment } from '../../src/state/attachment-store.ts'
import { FastClock } from '../clocks.ts'

const KEYS = Array.from({ length: 4 }, (_none, n): AttachmentKey => ({ network: 'podnet', containerId: `c${n}`, ifName: 'eth0' }))
const IPS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2', 'fd00::3']

const attachment = (key: AttachmentKey, ips: readonly string[], again?: readonly string[]): StoredAttachment => ({
  request: {
    key,
    pod: { namespace: 'n', name: key.containerId, uid: '' },
    port: { vf: { device: 'card', index: 0 }, name: 'p0' },
    vfMac: '02:00:00:00:00:01',
    netconf: {},
    runtimeConfig: {},
    cniArgs: {},
    flags: { ipsec: false },
  },
  ips,
  ...(again === undefined ? {} : { again: { mac: '02:00:00:00:00:01', ips: again } }),
})

const key = fc.constantFrom(...KEYS)
const ips = fc.subarray(IPS, { maxLength: 3 })
const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('put' as const), key, ips, again: fc.option(ips, { nil: undefined }) }) },
  fc.record({ do: fc.constantFrom('delete' as const, 'postpone' as const, 'reopen' as const, 'fail' as const), key }),
)

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cilium-store-'))
  file = join(folder, 'cilium.db')
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})
const open = (name = file): AttachmentStore => new AttachmentStore(name, { now: () => 0 })

/** What the rows of the table say of each key and address. */
function fromRows(store: AttachmentStore): unknown {
  const rows = store.all()
  const has = (ip: string, but: AttachmentKey): boolean =>
    rows.some(
      (row) => formatAttachmentKey(row.request.key) !== formatAttachmentKey(but) && [...row.ips, ...(row.again?.ips ?? [])].includes(ip),
    )
  return [rows.map(({ request }) => formatAttachmentKey(request.key)).toSorted(), KEYS.map((but) => IPS.map((ip) => has(ip, but)))]
}

function fromIndex(store: AttachmentStore): unknown {
  return [store.keys().map(formatAttachmentKey).toSorted(), KEYS.map((but) => IPS.map((ip) => store.othersHave(ip, but)))]
}

describe('what the store knows without reading', () => {
  it('is what its table says, after whatever was written or could not be, and after it was opened anew', () => {
    let runs = 0
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 25 }), (operations) => {
        const name = join(folder, `${runs++}.db`)
        let store = open(name)
        try {
          for (const step of operations) {
            if (step.do === 'put') store.put(attachment(step.key, step.ips, step.again))
            else if (step.do === 'delete') store.delete(step.key)
            else if (step.do === 'postpone') store.postpone({ key: step.key, owner: 'n/c', ips: [] })
            else if (step.do === 'reopen') {
              store[Symbol.dispose]()
              store = open(name)
            } else failing(store, step.key)
            expect(fromIndex(store)).toEqual(fromRows(store))
          }
        } finally {
          store[Symbol.dispose]()
        }
      }),
      { numRuns: 25 },
    )
  })

  it('is all that an allocation needs: its cost does not grow with the attachments', async () => {
    await using agent = await FakeCiliumAgent.start({
      socket: join(folder, 'cilium.sock'),
      limits: NO_LIMITS,
      ranges: { ipv4: '10.66.0.0/28', ipv6: 'fd66::/124' },
    })
    using store = open()
    const client = new CiliumClient({ socket: agent.socket, policy: new ApiPolicy(new FastClock(50), () => 0), requestTimeoutMs: 20_000 })
    const book = new AddressBook(client, store)
    const [mine, other] = KEYS as [AttachmentKey, AttachmentKey]
    store.put(attachment(other, ['10.66.0.2', 'fd66::2']))
    const all = vi.spyOn(store, 'all')
    const caller = { signal: AbortSignal.timeout(25_000), log: silentLogger, patience: NO_PATIENCE }
    const info = { routers: { ipv4: '10.66.0.1', ipv6: 'fd66::1' } } as Parameters<AddressBook['allocate']>[2]
    const held = await book.allocate(mine, 'n/c0', info, caller, (taken) =>
      store.put(
        attachment(
          mine,
          taken.map(({ ip }) => ip),
        ),
      ),
    )
    expect(
      held.map(({ ip }) => ip),
      'what the other has is passed over',
    ).toEqual(['10.66.0.3', 'fd66::3'])
    await book.giveBack({ key: mine, owner: 'n/c0', ips: ['10.66.0.2', '10.66.0.3', 'fd66::3'] }, false, caller)
    expect(agent.allocations).toEqual({})
    expect(all).not.toHaveBeenCalled()
  })
})

/** A write that the disk does not take. */
function failing(store: AttachmentStore, which: AttachmentKey): void {
  const broken = vi.spyOn(StatementSync.prototype, 'run').mockImplementation(() => {
    throw new Error('disk I/O error')
  })
  try {
    for (const write of [
      () => store.put(attachment(which, IPS)),
      () => store.delete(which),
      () => store.postpone({ key: which, owner: 'n/c', ips: [] }),
    ])
      expect(write).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE' }))
  } finally {
    broken.mockRestore()
  }
}
