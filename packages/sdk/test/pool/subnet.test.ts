import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressAt, firstPart, offsetOf, parseSubnet } from '../../src/pool/index.ts'

describe('subnet', () => {
  it.each([
    ['10.88.0.0/16', 1, '10.88.0.1'],
    ['10.88.3.7/16', 258, '10.88.1.2'],
    ['fd00:88::/64', 2, 'fd00:88::2'],
    ['::ffff:0:0/96', 0x01020304, '::ffff:102:304'],
    ['2001:db8:0:0:1::/80', 65_536, '2001:db8::1:0:1:0'],
  ])('address %s at %i is %s', (cidr, offset, address) => {
    expect(addressAt(parseSubnet(cidr), offset)).toBe(address)
    expect(offsetOf(parseSubnet(cidr), address)).toBe(offset)
  })

  it('counts hosts without network and broadcast address, and never more than JavaScript counts exactly', () => {
    expect(parseSubnet('10.0.0.0/30')).toMatchObject({ first: 1, last: 2 })
    expect(parseSubnet('fd00::/64').last).toBe(0xffff_fffe)
  })

  it.each([
    ['behind the gateway', 1, 5, 6],
    ['around the gateway', 3, 5, 6],
    ['before the gateway', 20, 5, 5],
    ['never beyond the subnet', 1, 500, 254],
  ])('a part of it lies %s', (_, gateway, size, last) => {
    expect(firstPart(parseSubnet('10.0.0.0/24'), gateway, size)).toMatchObject({ first: 1, last })
  })

  it('is reversible for all addresses', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.integer({ min: 0, max: 0xffff_fffe }), (high, offset) => {
        const groups = [48n, 32n, 16n, 0n].map((shift) => ((high >> shift) & 0xffffn).toString(16)).join(':')
        const subnet = parseSubnet(`${groups}::/64`)
        expect(offsetOf(subnet, addressAt(subnet, offset))).toBe(offset)
      }),
    )
  })
})
