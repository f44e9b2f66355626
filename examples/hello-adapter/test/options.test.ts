import { describe, expect, it } from 'vitest'
import { hello } from '../src/index.ts'
import type { HelloOptionsInput } from '../src/options.ts'

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
