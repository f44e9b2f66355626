import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CNI_VERSIONS, type CniResult, type CniVersion, decodeResult, encodeResult, isAtLeast } from '../../src/cni/index.ts'
import type { Route } from '../../src/index.ts'
import { thrown } from '../thrown.ts'

const full: CniResult = {
  interfaces: [
    { name: 'veth0', mac: '02:00:00:00:00:01' },
    { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 9000, sandbox: '/run/netns/x', socketPath: '/run/s', pciId: '0000:04:00.5' },
  ],
  ips: [
    { address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 1 },
    { address: '10.0.1.2/24', interface: 1 },
    { address: 'fd00::2/64', gateway: 'fd00::1', interface: 1 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400, advmss: 1360, priority: 10, table: 100, scope: 0 },
    { dst: '::/0', gw: 'fd00::1' },
    { dst: '10.9.0.0/16' },
  ],
  dns: { nameservers: ['10.0.0.10'], domain: 'cluster.local', search: ['svc.cluster.local'], options: ['ndots:5'] },
}
const none: CniResult = { interfaces: [], ips: [], routes: [], dns: {} }

const encoded = (result: CniResult, version: CniVersion): unknown => JSON.parse(encodeResult(result, version))

describe('encodeResult', () => {
  it.each(['0.1.0', '0.2.0'] as const)('%s: the first address of each family with the routes of the family', (version) => {
    expect(encoded(full, version)).toEqual({
      cniVersion: version,
      ip4: { ip: '10.0.0.2/24', gateway: '10.0.0.1', routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '10.9.0.0/16' }] },
      ip6: { ip: 'fd00::2/64', gateway: 'fd00::1', routes: [{ dst: '::/0', gw: 'fd00::1' }] },
      dns: full.dns,
    })
    expect(encoded(none, version)).toEqual({ cniVersion: version, dns: {} })
  })

  it.each(['0.3.0', '0.3.1', '0.4.0', '1.0.0'] as const)('%s: interfaces and addresses, without what came with 1.1.0', (version) => {
    const family = (text: string): object => (isAtLeast(version, '1.0.0') ? {} : { version: text })
    expect(encoded(full, version)).toEqual({
      cniVersion: version,
      interfaces: [
        { name: 'veth0', mac: '02:00:00:00:00:01' },
        { name: 'eth0', mac: '02:00:00:00:00:02', sandbox: '/run/netns/x' },
      ],
      ips: [
        { ...family('4'), address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 1 },
        { ...family('4'), address: '10.0.1.2/24', interface: 1 },
        { ...family('6'), address: 'fd00::2/64', gateway: 'fd00::1', interface: 1 },
      ],
      routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '::/0', gw: 'fd00::1' }, { dst: '10.9.0.0/16' }],
      dns: full.dns,
    })
    expect(encoded(none, version)).toEqual(isAtLeast(version, '1.0.0') ? { cniVersion: version } : { cniVersion: version, dns: {} })
  })

  it('1.1.0: everything, pciID in the spelling of the specification', () => {
    const { pciId, ...eth0 } = full.interfaces[1]!
    expect(encoded(full, '1.1.0')).toEqual({ cniVersion: '1.1.0', ...full, interfaces: [full.interfaces[0], { ...eth0, pciID: pciId }] })
  })

  it.each([-1, 2, 0.5])('refuses an address of interface %d of 2, which would crash the runtime', (at) => {
    const error = thrown(() => encodeResult({ ...full, ips: [{ address: '10.0.0.2/24', interface: at }] }, '1.0.0'))
    expect(error).toMatchObject({ code: 'INTERNAL', message: `result: address 10.0.0.2/24 is of interface ${at}, there are 2` })
  })
})

describe('decodeResult', () => {
  it('lets the version that a result names count, the given one otherwise', () => {
    expect(decodeResult({ cniVersion: '0.2.0', ip4: { ip: '10.0.0.2/24' } }, '1.0.0').ips).toEqual([{ address: '10.0.0.2/24' }])
    expect(decodeResult({ cniVersion: '', ip4: { ip: '10.0.0.2/24' } }, '0.1.0').ips).toEqual([{ address: '10.0.0.2/24' }])
    expect(thrown(() => decodeResult({ cniVersion: '2.0.0' }, '1.0.0')).code).toBe('INCOMPATIBLE_VERSION')
    expect(thrown(() => decodeResult({ cniVersion: 5 }, '1.0.0')).code).toBe('INCOMPATIBLE_VERSION')
  })

  it('reads null and "" as absent and tolerates what it does not know', () => {
    const value = {
      interfaces: [{ name: 'eth0', mac: '', sandbox: '', mtu: null, color: 'red' }],
      ips: [{ version: '4', address: '10.0.0.2/24', gateway: null, interface: null }],
      routes: [{ dst: '0.0.0.0/0', gw: '' }],
      dns: { domain: '', nameservers: null },
      other: 1,
    }
    expect(decodeResult(value, '0.4.0')).toEqual({
      interfaces: [{ name: 'eth0' }],
      ips: [{ address: '10.0.0.2/24' }],
      routes: [{ dst: '0.0.0.0/0' }],
      dns: {},
    })
    expect(decodeResult({ interfaces: null, ips: null, routes: null, dns: null }, '1.1.0')).toEqual(none)
    expect(decodeResult({ ip4: null, ip6: { ip: 'fd00::2/64', routes: null } }, '0.2.0').ips).toEqual([{ address: 'fd00::2/64' }])
  })

  it.each([
    null,
    [],
    'x',
    { ips: {} },
    { ips: [{ address: '10.0.0.2' }] },
    { ips: [{ address: '10.0.0.2/24', gateway: 'gw' }] },
    { ips: [{ address: '10.0.0.2/24', interface: 1 }], interfaces: [{ name: 'eth0' }] },
    { ips: [{ address: '10.0.0.2/24', interface: -1 }], interfaces: [{ name: 'eth0' }] },
    { routes: [{ dst: 'default' }] },
    { interfaces: [{ mac: '02:00:00:00:00:01' }] },
    { dns: 'x' },
  ])('refuses %j', (value) => {
    expect(thrown(() => decodeResult(value, '1.0.0'))).toMatchObject({ code: 'UNDECODABLE', message: expect.stringMatching(/^result: /) })
  })

  it('names the address whose interface is not there', () => {
    const value = { interfaces: [{ name: 'a' }], ips: [{ address: '10.0.0.2/24', interface: 1 }] }
    expect(thrown(() => decodeResult(value, '1.0.0')).message).toBe('result: ips.0.interface = 1: there are 1 interfaces')
  })
})

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
const defined = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T
const text = fc.string({ minLength: 1, maxLength: 20 })
const uint32 = fc.nat(0xffff_ffff)
const cidr = fc.oneof(
  fc.tuple(fc.ipV4(), fc.nat(32)).map(([ip, bits]) => `${ip}/${bits}`),
  fc
    .tuple(fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }), fc.nat(128))
    .map(([words, bits]) => `${words.map((word) => word.toString(16)).join(':')}/${bits}`),
)
const address = cidr.map((one) => one.replace(/\/.*/, ''))
const route: fc.Arbitrary<Route> = fc
  .record({
    dst: cidr,
    gw: optional(address),
    mtu: optional(uint32),
    advmss: optional(uint32),
    priority: optional(uint32),
    table: optional(uint32),
    scope: optional(fc.nat(255)),
  })
  .map((one) => defined(one) as Route)
const result: fc.Arbitrary<CniResult> = fc
  .array(
    fc
      .record({
        name: text,
        mac: optional(text),
        mtu: optional(uint32),
        sandbox: optional(text),
        socketPath: optional(text),
        pciId: optional(text),
      })
      .map(defined),
    { maxLength: 4 },
  )
  .chain((interfaces) => {
    const at = interfaces.length === 0 ? fc.constant(undefined) : optional(fc.nat(interfaces.length - 1))
    return fc.record({
      interfaces: fc.constant(interfaces),
      ips: fc.array(fc.record({ address: cidr, gateway: optional(address), interface: at }).map(defined), { maxLength: 4 }),
      routes: fc.array(route, { maxLength: 4 }),
      dns: fc
        .record({
          nameservers: optional(fc.array(text)),
          domain: optional(text),
          search: optional(fc.array(text)),
          options: optional(fc.array(text)),
        })
        .map(defined),
    })
  }) as fc.Arbitrary<CniResult>

describe('round trip', () => {
  it('loses nothing in 1.1.0', () => {
    fc.assert(fc.property(result, (given) => void expect(decodeResult(encoded(given, '1.1.0'), '1.1.0')).toEqual(given)))
  })

  it.each(CNI_VERSIONS.filter((version) => version !== '1.1.0'))('loses in %s only what the version has no place for', (version) => {
    const modern = isAtLeast(version, '0.3.0')
    fc.assert(
      fc.property(result, (given) => {
        const back = decodeResult(encoded(given, version), version)
        const ofFamily = (v6: boolean): CniResult['ips'] => given.ips.filter((ip) => ip.address.includes(':') === v6).slice(0, 1)
        const firsts = [...ofFamily(false), ...ofFamily(true)].map(({ interface: _dropped, ...ip }) => ip)
        expect(back.dns).toEqual(given.dns)
        expect(back.ips).toEqual(modern ? given.ips : firsts)
        expect(back.interfaces).toEqual(modern ? given.interfaces.map(({ mtu: _1, socketPath: _2, pciId: _3, ...rest }) => rest) : [])
        const plain = given.routes.map(({ dst, gw }) => defined({ dst, gw }))
        if (modern) expect(back.routes).toEqual(plain)
        else expect(plain).toEqual(expect.arrayContaining([...back.routes]))
        expect(encodeResult(back, version)).toBe(encodeResult(given, version))
      }),
    )
  })

  it('decodes anything or throws UNDECODABLE or INCOMPATIBLE_VERSION', () => {
    const key = fc.constantFrom('cniVersion', 'interfaces', 'ips', 'routes', 'dns', 'ip4', 'ip6')
    fc.assert(
      fc.property(fc.dictionary(key, fc.jsonValue()), fc.constantFrom(...CNI_VERSIONS), (value, version) => {
        try {
          decodeResult(value, version)
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(UNDECODABLE|INCOMPATIBLE_VERSION)$/) })
        }
      }),
    )
  })
})
