import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseNetconf } from '../../src/netconf/netconf.ts'

const parse = (netconf: object, more: object = {}): ReturnType<typeof parseNetconf> =>
  parseNetconf({ netconf: netconf as Record<string, unknown>, runtimeConfig: {}, cniArgs: {}, ...more })

const PLAIN = { trunk: [], minTxRate: 0, maxTxRate: 0, isolated: false, hostIpam: false, ipam: { type: 'none' } }

describe('a network configuration', () => {
  test('with every field of sriov-cni', () => {
    const full = {
      cniVersion: '0.3.1',
      name: 'net',
      type: 'sriov',
      deviceID: '0000:03:02.1',
      vlan: 500,
      vlanQoS: 3,
      vlanProto: '802.1AD',
      mac: '02:AB:00:00:00:09',
      min_tx_rate: 50,
      max_tx_rate: 250,
      spoofchk: 'on',
      trust: 'off',
      link_state: 'enable',
      logLevel: 'debug',
      logFile: '/var/log/sriov.log',
      ipam: { type: 'host-local', subnet: '10.0.0.0/24' },
    }
    expect(parse(full)).toEqual({
      ...PLAIN,
      mac: '02:ab:00:00:00:09',
      vlan: { id: 500, qos: 3, protocol: '802.1ad' },
      minTxRate: 50,
      maxTxRate: 250,
      spoofCheck: true,
      trust: false,
      linkState: 'enable',
      ipam: { type: 'plugin', plugin: 'host-local' },
    })
  })

  test.each<[string, object]>([
    ['nothing', {}],
    [
      'what Go writes for fields that are not set',
      { spoofchk: '', trust: '', link_state: '', mac: '', vlan: null, vlanQoS: null, ipam: {} },
    ],
    ['a VLAN of 0, which is none', { vlan: 0, vlanQoS: 0, vlanProto: '802.1q' }],
    ['fields of other plugins', { mtu: 9000, master: 'eth0', capabilities: { mac: true } }],
  ])('with %s', (_what, netconf) => {
    expect(parse(netconf)).toEqual(PLAIN)
  })

  test('the MAC of the runtime counts most, that of the configuration least', () => {
    const [a, b, c, d] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c', '02:00:00:00:00:0d']
    const own = { mac: d, args: { cni: { mac: b } } }
    expect(parse(own, { runtimeConfig: { mac: a }, cniArgs: { MAC: c } }).mac).toBe(a)
    expect(parse(own, { cniArgs: { MAC: c } }).mac).toBe(b)
    expect(parse({ mac: d }, { cniArgs: { MAC: c.toUpperCase() } }).mac).toBe(c)
    expect(parse({ mac: d }, { cniArgs: { MAC: '' }, runtimeConfig: { mac: '' } }).mac).toBe(d)
  })

  test('lists of VLANs are written in two ways, and come out in order and apart', () => {
    const ranges = [
      { first: 2, last: 5 },
      { first: 10, last: 20 },
    ]
    expect(parse({ vlan_trunk: '10-15, 4,5,2-3,12-20' }).trunk).toEqual(ranges)
    expect(parse({ vlanTrunk: [{ minID: 10, maxID: 20 }, { id: 2 }, { minID: 3, maxID: 5 }] }).trunk).toEqual(ranges)
  })

  test('a list of VLANs has exactly those that were written', () => {
    const range = fc
      .tuple(fc.integer({ min: 1, max: 4094 }), fc.integer({ min: 0, max: 40 }))
      .map(([first, more]) => [first, Math.min(4094, first + more)] as const)
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 12 }), (ranges) => {
        const { trunk } = parse({ vlan_trunk: ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',') })
        const expand = (list: readonly (readonly [number, number])[]): Set<number> =>
          new Set(list.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, at) => first + at)))
        expect(expand(trunk.map(({ first, last }) => [first, last]))).toEqual(expand(ranges))
        for (const [at, { first, last }] of trunk.entries()) {
          expect(first).toBeLessThanOrEqual(last)
          expect((trunk[at + 1]?.first ?? 9_999) - last, 'a gap').toBeGreaterThan(1)
        }
      }),
    )
  })

  test.each<[string, object, RegExp]>([
    ['a VLAN of 4095', { vlan: 4095 }, /vlan = 4095: a VLAN, 0 for none, 0–4094/],
    ['a VLAN below 0', { vlan: -1 }, /vlan = -1: .*0–4094/],
    ['a VLAN that is no whole number', { vlan: 1.5 }, /vlan = 1\.5/],
    ['a VLAN as text', { vlan: '100' }, /vlan = "100"/],
    ['a priority of 8', { vlan: 5, vlanQoS: 8 }, /vlanQoS = 8: a priority, 0–7/],
    ['a priority without VLAN', { vlanQoS: 3 }, /vlanQoS = 3: a priority needs a vlan/],
    ['a priority with VLAN 0', { vlan: 0, vlanQoS: 3 }, /vlanQoS = 3/],
    ['an unknown protocol', { vlan: 5, vlanProto: '802.1x' }, /vlanProto = "802.1x": "802.1q" or "802.1ad"/],
    ['802.1ad without VLAN', { vlanProto: '802.1ad' }, /vlanProto = "802.1ad": 802.1ad needs a vlan/],
    ['a rate below 0', { min_tx_rate: -5 }, /min_tx_rate = -5: a rate in Mbit\/s/],
    ['a least rate above the largest', { min_tx_rate: 300, max_tx_rate: 200 }, /min_tx_rate = 300: at most max_tx_rate, which is 200/],
    ['spoofchk that is neither', { spoofchk: 'yes' }, /spoofchk = "yes": "on" or "off"/],
    ['trust that is neither', { trust: true }, /trust = true: "on" or "off"/],
    ['an unknown link state', { link_state: 'up' }, /link_state = "up": "auto", "enable" or "disable"/],
    ['a MAC that is none', { mac: '02:00' }, /mac = "02:00"/],
    ['the MAC of a group', { mac: '03:00:00:00:00:01' }, /mac = .*one interface/],
    ['a MAC of zeros', { mac: '00:00:00:00:00:00' }, /mac = .*other than zero/],
    ['VLANs in no order', { vlanTrunk: [{ minID: 9, maxID: 3 }] }, /vlanTrunk\.0/],
    ['a VLAN of 0 in a list', { vlanTrunk: [{ id: 0 }] }, /vlanTrunk\.0/],
    ['a list that is none', { vlan_trunk: '1-2-3' }, /vlan_trunk = "1-2-3": .*such as "2,4,10-20"/],
    ['a list beyond the last VLAN', { vlan_trunk: '4000-4095' }, /vlan_trunk/],
    ['two lists', { vlan_trunk: '5', vlanTrunk: [{ id: 6 }] }, /vlan_trunk = "5": either this or vlanTrunk/],
    ['802.1ad with a list', { vlan: 5, vlanProto: '802.1ad', vlanTrunk: [{ id: 6 }] }, /vlanProto = "802.1ad": .*no list/],
    ['a pool without ranges', { ipam: { type: 'pool', ranges: [] } }, /ipam\.ranges = \[\]: one range or more/],
    ['a pool without any', { ipam: { type: 'pool' } }, /ipam\.ranges is missing/],
    [
      'a pool without room',
      { ipam: { type: 'pool', ranges: [{ subnet: '10.0.0.0/32' }] } },
      /ipam\.ranges\.0\.subnet = "10\.0\.0\.0\/32": .*room/,
    ],
    [
      'a start outside',
      { ipam: { type: 'pool', ranges: [{ subnet: '10.0.0.0/24', rangeStart: '10.0.1.1' }] } },
      /rangeStart = "10\.0\.1\.1": a host address/,
    ],
    [
      'an end before the start',
      { ipam: { type: 'pool', ranges: [{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.9', rangeEnd: '10.0.0.8' }] } },
      /rangeEnd = "10\.0\.0\.8"/,
    ],
    [
      'a prefix twice',
      { ipam: { type: 'pool', ranges: [{ subnet: '10.0.0.0/24' }, { subnet: '10.0.0.0/16' }] } },
      /ipam\.ranges = .*overlap/,
    ],
    ['an IPAM out of another folder', { ipam: { type: '../evil' } }, /ipam\.type = "\.\.\/evil"/],
  ])('is refused with %s', (_what, netconf, message) => {
    expect(() => parse(netconf)).toThrow(expect.objectContaining({ code: 'INVALID_NETCONF', message: expect.stringMatching(message) }))
  })

  test('is refused or read, whatever stands in it, and never with anything but its own error', () => {
    const value = fc.oneof(
      fc.integer({ min: -10, max: 5000 }),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.array(fc.integer()),
      fc.object(),
    )
    const names = [
      'vlan',
      'vlanQoS',
      'vlanProto',
      'vlanTrunk',
      'vlan_trunk',
      'mac',
      'spoofchk',
      'trust',
      'link_state',
      'min_tx_rate',
      'max_tx_rate',
      'ipam',
      'args',
    ]
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), value), (netconf) => {
        try {
          const { vlan, minTxRate, maxTxRate } = parse(netconf)
          expect(vlan === undefined || (vlan.id >= 1 && vlan.id <= 4094)).toBe(true)
          expect(maxTxRate === 0 || minTxRate <= maxTxRate).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_NETCONF' })
        }
      }),
      { numRuns: 500 },
    )
  })
})
