import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressPools, offsetOf, parseSubnet, type Pool, POOL_TABLES, wantedOffsets } from '../../src/pool/index.ts'

const open = (): { db: DatabaseSync; pools: AddressPools } => {
  const db = new DatabaseSync(':memory:')
  db.exec(POOL_TABLES)
  return { db, pools: new AddressPools(db) }
}

const range = (name: string, cidr: string, from: string, to: string): Pool => {
  const subnet = parseSubnet(cidr)
  return { name, subnet: { ...subnet, first: offsetOf(subnet, from), last: offsetOf(subnet, to) } }
}

describe('AddressPools', () => {
  it('gives what lies between the ends of a range, and nothing else', () => {
    const { pools } = open()
    const pool = range('a', '10.0.0.0/24', '10.0.0.10', '10.0.0.12')
    expect(['x', 'y', 'z'].map((owner) => pools.take(pool, owner))).toEqual(['10.0.0.10', '10.0.0.11', '10.0.0.12'])
    expect(pools.hasRoom(pool)).toBe(false)
    expect(() => pools.take(pool, 'w')).toThrow(/no address of a is free/)
    pools.release('y')
    expect(pools.take(pool, 'w')).toBe('10.0.0.11')
  })

  it('keeps to a range that was changed meanwhile', () => {
    const { pools } = open()
    for (const owner of ['x', 'y', 'z']) pools.take(range('a', '10.0.0.0/24', '10.0.0.10', '10.0.0.30'), owner)
    pools.release('x')
    const later = range('a', '10.0.0.0/24', '10.0.0.2', '10.0.0.3')
    expect(['u', 'v'].map((owner) => pools.take(later, owner))).toEqual(['10.0.0.2', '10.0.0.3'])
    expect(pools.hasRoom(later), 'what was freed beyond its end').toBe(false)
  })

  it('has pools of different names apart, whatever their subnets are', () => {
    const { pools } = open()
    const [a, b] = ['a', 'b'].map((name): Pool => ({ name, subnet: parseSubnet('fd00::/64') })) as [Pool, Pool]
    expect([pools.take(a, 'x'), pools.take(b, 'y')]).toEqual(['fd00::1', 'fd00::1'])
    pools.release('x')
    expect(() => pools.claim([b], 'fd00::1', 'z')).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }))
    pools.claim([a], 'fd00::1', 'z')
    expect(pools.take(a, 'w')).toBe('fd00::2')
  })

  it('takes what was asked for by the name of the pool', () => {
    const pool = { name: 'net/10.0.0.0/24', subnet: parseSubnet('10.0.0.0/24'), gatewayOffset: 1 }
    expect(wantedOffsets([pool], ['10.0.0.7'], 'ips')).toEqual(new Map([['net/10.0.0.0/24', 7]]))
    expect(() => wantedOffsets([pool], ['10.0.0.1'], 'ips')).toThrow(/other addresses of 10\.0\.0\.0\/24/)
    expect(() => wantedOffsets([pool], ['10.0.0.7', '10.0.0.8'], 'ips')).toThrow(/one address/)
  })

  it('never gives an address to two, nor one outside of the range', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), (steps, size) => {
        const { db, pools } = open()
        const pool = range('a', '10.0.0.0/24', '10.0.0.20', `10.0.0.${19 + size}`)
        const held = new Map<number, string>()
        for (const owner of steps) {
          if (held.delete(owner)) pools.release(String(owner))
          else if (held.size < size) held.set(owner, pools.take(pool, String(owner)))
          else expect(pools.hasRoom(pool)).toBe(false)
          const given = [...held.values()].map((address) => Number(address.split('.')[3]))
          expect(new Set(given).size).toBe(given.length)
          expect(given.every((last) => last >= 20 && last < 20 + size)).toBe(true)
        }
        db.close()
      }),
      { numRuns: 50 },
    )
  })
})
