import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AttachmentKey, AttachRequest, AttachResult } from '@cni-offload/sdk'
import { parseSubnet, type Pool } from '@cni-offload/sdk/pool'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Attachments } from '../src/attachments.ts'

const CLOCK = { now: (): number => Date.UTC(2026, 10, 23) }
const ASIDE = 'p.db.unreadable-20261123T000000Z'

const result = (addresses: readonly string[]): AttachResult => ({
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: addresses.map((address) => ({ address: `${address}/24` })),
  routes: [],
  neighbours: [],
  dns: {},
  sysctls: {},
})
const key = (id: number | string): AttachmentKey => ({ network: 'n', containerId: `c${id}`, ifName: 'eth0' })
const request = (id: number | string): AttachRequest => ({
  key: key(id),
  pod: { namespace: 'n', name: `c${id}`, uid: '' },
  port: { vf: { device: 'card', index: 0 }, name: 'p0' },
  vfMac: '02:00:00:00:00:01',
  netconf: {},
  runtimeConfig: {},
  cniArgs: {},
  flags: { ipsec: false },
})
const pool = (cidr: string, gatewayOffset = 1): Pool => ({ name: cidr, subnet: parseSubnet(cidr), gatewayOffset })

const sql = (file: string, statement: string): void => {
  using db = new DatabaseSync(file)
  db.exec(statement)
}

describe('Attachments', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'pool-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const open = (...pools: readonly Pool[]): Attachments => new Attachments(join(folder, 'p.db'), pools, CLOCK)
  const take = (from: Attachments, id: number | string): string | undefined => from.assign(request(id), result).result.ips[0]?.address

  it('gives every address once before any a second time, then the longest-free first', () => {
    using addresses = open(pool('10.0.0.0/29'))
    expect([1, 2, 3].map((id) => take(addresses, id))).toEqual(['10.0.0.2/24', '10.0.0.3/24', '10.0.0.4/24'])
    addresses.release(key(2))
    addresses.release(key(1))
    expect([4, 5, 6, 7].map((id) => take(addresses, id))).toEqual(['10.0.0.5/24', '10.0.0.6/24', '10.0.0.3/24', '10.0.0.2/24'])
  })

  it('never gives the gateway, wherever it is', () => {
    using addresses = open(pool('10.0.0.0/29', 3))
    expect([1, 2, 3, 4, 5].map((id) => take(addresses, id))).toEqual([
      '10.0.0.1/24',
      '10.0.0.2/24',
      '10.0.0.4/24',
      '10.0.0.5/24',
      '10.0.0.6/24',
    ])
    expect(addresses.exhausted()).toEqual(['10.0.0.0/29'])
  })

  it('takes of all pools or of none', () => {
    using addresses = open(pool('10.0.0.0/24'), pool('fd00::/126'))
    take(addresses, 1)
    expect(() => take(addresses, 2)).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('fd00::/126') }),
    )
    addresses.release(key(1))
    expect(take(addresses, 3)).toBe('10.0.0.3/24')
    expect(addresses.all().map((known) => known.request.key.containerId)).toEqual(['c3'])
  })

  it('gives a wanted address unless somebody has it, and passes it over when its turn comes', () => {
    using addresses = open(pool('10.0.0.0/28'))
    const wanted = new Map([['10.0.0.0/28', 4]])
    const ask = (id: number): string | undefined => addresses.assign(request(id), result, wanted).result.ips[0]?.address
    expect(ask(1)).toBe('10.0.0.4/24')
    expect(() => ask(2)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('10.0.0.4') }))
    expect([3, 4, 5].map((id) => take(addresses, id))).toEqual(['10.0.0.2/24', '10.0.0.3/24', '10.0.0.5/24'])
    addresses.release(key(1))
    expect(ask(6)).toBe('10.0.0.4/24')
    addresses.release(key(6))
    expect(take(addresses, 7), 'a wanted one that was given back is as any other').toBe('10.0.0.6/24')
    for (let id = 8; id < 8 + 8; id++) take(addresses, id)
    expect(take(addresses, 20)).toBe('10.0.0.4/24')
    expect(addresses.exhausted()).toEqual(['10.0.0.0/28'])
  })

  it('survives being closed and opened again', () => {
    {
      using addresses = open(pool('10.0.0.0/24'))
      take(addresses, 1)
    }
    using addresses = open(pool('10.0.0.0/24'))
    expect(addresses.get(key(1))).toEqual({ request: request(1), result: result(['10.0.0.2']) })
    expect(take(addresses, 2)).toBe('10.0.0.3/24')
  })

  it.each([
    ['garbage', (file: string) => writeFileSync(file, 'x'.repeat(8192))],
    ['a truncated file', (file: string) => truncateSync(file, 4096)],
    ['a request of another attachment', (file: string) => sql(file, "UPDATE attachments SET key = 'n/other/eth0'")],
    ['a result that is none', (file: string) => sql(file, "UPDATE attachments SET result = '{}'")],
  ])('sets aside %s, and begins anew', (_what, damage) => {
    {
      using addresses = open(pool('10.0.0.0/24'))
      take(addresses, 1)
    }
    damage(join(folder, 'p.db'))
    using addresses = open(pool('10.0.0.0/24'))
    expect(addresses.setAside?.path).toBe(join(folder, ASIDE))
    expect(addresses.all()).toEqual([])
    expect(readdirSync(folder)).toContain(ASIDE)
  })

  describe('hold', () => {
    it('takes over what a running pod has, and gives it to nobody else', () => {
      using addresses = open(pool('10.0.0.0/29'), pool('fd00::/125'))
      const known = { request: request(1), result: result(['10.0.0.3', 'fd00::4', '192.0.2.1']) }
      addresses.hold(known)
      addresses.hold(known)
      expect(addresses.all()).toEqual([known])
      expect([2, 3, 4, 5].map((id) => take(addresses, id))).toEqual(['10.0.0.2/24', '10.0.0.4/24', '10.0.0.5/24', '10.0.0.6/24'])
      addresses.release(key(1))
      expect(take(addresses, 6)).toBe('10.0.0.3/24')
    })

    it('holds addresses in a pool that was configured later', () => {
      {
        using addresses = open(pool('10.0.0.0/29'))
        take(addresses, 1)
      }
      using addresses = open(pool('10.0.0.0/16'))
      for (const known of addresses.all()) addresses.hold(known)
      expect(take(addresses, 2)).toBe('10.0.0.3/24')
    })

    it('takes nothing over where another pod has one of the addresses', () => {
      using addresses = open(pool('10.0.0.0/29'), pool('fd00::/125'))
      take(addresses, 1)
      expect(() => addresses.hold({ request: request(2), result: result(['10.0.0.5', 'fd00::2']) })).toThrow(
        /fd00::2 of n\/c2\/eth0 is held/,
      )
      expect(addresses.all()).toHaveLength(1)
      expect([3, 4, 5, 6].map((id) => take(addresses, id))).toContain('10.0.0.5/24')
    })
  })

  it('leaves a file alone that is newer, or that another adapter has open', () => {
    {
      using addresses = open(pool('10.0.0.0/24'))
      take(addresses, 1)
      expect(() => open(pool('10.0.0.0/24'))).toThrow(/another hello adapter runs on it/)
    }
    sql(join(folder, 'p.db'), 'PRAGMA user_version = 2')
    expect(() => open(pool('10.0.0.0/24'))).toThrow(/written by a newer one/)
    expect(readdirSync(folder)).toEqual(['p.db'])
  })

  it('never gives an address to two attachments, whatever the order of assignments and releases', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 60 }), fc.integer({ min: 2, max: 6 }), (steps, offset) => {
        using addresses = new Attachments(':memory:', [pool('10.0.0.0/29'), pool('fd00::/125')], CLOCK)
        const held = new Set<number>()
        for (const id of steps) {
          if (held.delete(id)) addresses.release(key(id))
          else if (held.size < 5) {
            const free = !addresses.all().some(({ result: { ips } }) => ips[0]?.address === `10.0.0.${offset}/24`)
            addresses.assign(request(id), result, id === 0 && free ? new Map([['10.0.0.0/29', offset]]) : new Map())
            held.add(id)
          } else expect(() => take(addresses, id)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }))
          const given = addresses.all().flatMap((assignment) => assignment.result.ips.map(({ address }) => address))
          expect(new Set(given).size).toBe(given.length)
          expect(given).toHaveLength(2 * held.size)
        }
      }),
      { numRuns: 50 },
    )
  })
})
