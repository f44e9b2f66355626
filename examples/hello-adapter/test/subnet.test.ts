import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hello } from '../src/index.ts'
import type { HelloOptionsInput } from '../src/options.ts'
import { addressAt, firstPart, offsetOf, parseSubnet } from '../src/subnet.ts'

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

describe('options', () => {
  it('an empty object is a working network', () => {
    expect(hello.definition.options.parse({})).toMatchObject({ bridge: 'hello0', mtu: 1500, pools: [{ subnet: '10.88.0.0/16' }, {}] })
  })

  it('pools are one or several of a family, or none', () => {
    const [a, b, c] = [{ subnet: '10.0.0.0/24' }, { subnet: '10.0.1.0/24' }, { subnet: 'fd00::/64' }]
    const poolsOf = (pools: HelloOptionsInput['pools']): unknown => hello.definition.options.parse({ pools }).pools
    expect(poolsOf({ ipv4: a })).toEqual([a])
    expect(poolsOf({ ipv6: c, ipv4: [a, b] })).toEqual([a, b, c])
    expect(poolsOf({})).toEqual([])
    expect(hello.definition.options.parse({ mtu: 1000, pools: { ipv4: a } }).mtu, 'below the MTU of IPv6').toBe(1000)
  })

  it.each([
    ['a subnet without room', { pools: { ipv4: { subnet: '10.0.0.0/31' } } }, /room for a gateway/],
    ['a gateway outside', { pools: { ipv4: { subnet: '10.0.0.0/24', gateway: '10.0.1.1' } } }, /a host address of the subnet/],
    [
      'the broadcast address as gateway',
      { pools: { ipv4: { subnet: '10.0.0.0/24', gateway: '10.0.0.255' } } },
      /a host address of the subnet/,
    ],
    ['pools with the same addresses', { pools: { ipv4: [{ subnet: '10.0.1.0/24' }, { subnet: '10.0.0.0/16' }] } }, /do not overlap/],
    ['a second pool without room', { pools: { ipv4: [{ subnet: '10.0.1.0/24' }, { subnet: '10.0.0.0/31' }] } }, /ipv4\.1\.subnet/],
    ['a route that is none', { routes: [{ dst: '10.0.0.0' }] }, /routes\.0\.dst/],
    ['a pool of the wrong family', { pools: { ipv6: { subnet: '10.0.0.0/24' } } }, /pools\.ipv6\.0\.subnet/],
    ['an MTU that IPv6 does not allow', { mtu: 1000 }, /mtu = 1000/],
    ['an unknown option', { brigde: 'x' }, /brigde/],
  ])('refuse %s', (_what, options, message) => {
    expect(() => hello(options as HelloOptionsInput)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) }),
    )
  })
})
