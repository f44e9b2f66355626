import { VF_ADMIN_SETTINGS, type VfAdminSetting } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseNetconf } from '../../src/netconf/netconf.ts'
import { decide, type Policy } from '../../src/policy/policy.ts'

const policyOf = (netconf: object, enforces?: readonly VfAdminSetting[], tagsReachPort = false): Policy =>
  decide(parseNetconf({ netconf: netconf as Record<string, unknown>, runtimeConfig: {}, cniArgs: {} }), { enforces, tagsReachPort })

const FULL = { vlan: 100, vlanQoS: 3, mac: '02:00:00:00:00:09', max_tx_rate: 200, spoofchk: 'on', trust: 'on', link_state: 'enable' }

describe('where settings are enforced', () => {
  test('all on the port where the host does nothing', () => {
    const { vf, port, enforcers } = policyOf(FULL)
    expect(vf).toBeUndefined()
    expect(port).toEqual({
      tagging: { kind: 'access', vlan: { id: 100, qos: 3, protocol: '802.1q' } },
      guardMac: false,
      guardIp: true,
      maxTxRate: 200,
      up: true,
      promiscuous: true,
      isolated: false,
    })
    expect(enforcers).toEqual({ mac: 'port', vlan: 'port', max_tx_rate: 'port', spoofchk: 'port', trust: 'port', link_state: 'port' })
  })

  test('on the host where it can; the port guards all the same', () => {
    const { vf, port, enforcers } = policyOf({ ...FULL, trust: 'off', min_tx_rate: 50 }, VF_ADMIN_SETTINGS, true)
    expect(vf).toEqual({
      mac: '02:00:00:00:00:09',
      vlan: { id: 100, qos: 3, protocol: '802.1q' },
      minTxRate: 50,
      maxTxRate: 200,
      spoofCheck: true,
      trust: false,
      linkState: 'enable',
    })
    expect(port).toMatchObject({ tagging: { kind: 'tagged', id: 100 }, guardMac: true, guardIp: true, maxTxRate: 0 })
    expect(enforcers).toMatchObject({ vlan: 'host and port', min_tx_rate: 'host', max_tx_rate: 'host', spoofchk: 'host and port' })
  })

  test('nothing is asked of the host that the configuration does not ask for', () => {
    expect(policyOf({}, VF_ADMIN_SETTINGS, true).vf).toBeUndefined()
    expect(policyOf({ trust: 'off' }, VF_ADMIN_SETTINGS, true).vf).toEqual({ trust: false })
  })

  test.each<[string, object, boolean]>([
    ['the port does not see its tags', { vlan: 100 }, false],
    ['it is 802.1ad, which few drivers take', { vlan: 100, vlanProto: '802.1ad' }, true],
    ['the pod tags frames, too', { vlan: 100, vlanTrunk: [{ id: 5 }] }, true],
  ])('a VLAN is the port’s when %s', (_what, netconf, tagsReachPort) => {
    expect(policyOf(netconf, ['vlan'], tagsReachPort)).toMatchObject({ enforcers: { vlan: 'port' } })
    expect(policyOf(netconf, ['vlan'], tagsReachPort).vf).toBeUndefined()
  })

  test('a promised rate is refused where no physical function promises it', () => {
    expect(() => policyOf({ min_tx_rate: 50, max_tx_rate: 100 }, ['vlan', 'trust'])).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_FIELD', message: expect.stringMatching(/min_tx_rate = 50/) }),
    )
    expect(policyOf({ min_tx_rate: 50 }, ['rate']).vf).toEqual({ minTxRate: 50, maxTxRate: 0 })
  })

  test.each([
    [{}, { guardMac: true, guardIp: true, promiscuous: false }],
    [
      { spoofchk: 'on', trust: 'off' },
      { guardMac: true, guardIp: true, promiscuous: false },
    ],
    [
      { spoofchk: 'on', trust: 'on' },
      { guardMac: false, guardIp: true, promiscuous: true },
    ],
    [{ spoofchk: 'off' }, { guardMac: false, guardIp: false, promiscuous: false }],
    [
      { spoofchk: 'off', trust: 'on' },
      { guardMac: false, guardIp: false, promiscuous: true },
    ],
    [{ link_state: 'disable' }, { up: false }],
    [{ link_state: 'auto' }, { up: true }],
    [{ portIsolation: true }, { isolated: true }],
    [{ vlanTrunk: [{ id: 5 }] }, { tagging: { kind: 'trunk', ranges: [{ first: 5, last: 5 }] } }],
  ])('of %j the port makes %j', (netconf, port) => {
    expect(policyOf(netconf).port).toMatchObject(port)
  })

  test('everything that was asked for is enforced by somebody, and the host is asked for no more than it can', () => {
    const netconfs = fc.record(
      {
        vlan: fc.integer({ min: 1, max: 4094 }),
        mac: fc.constant('02:00:00:00:00:09'),
        max_tx_rate: fc.integer({ min: 1, max: 1000 }),
        spoofchk: fc.constantFrom('on', 'off'),
        trust: fc.constantFrom('on', 'off'),
        link_state: fc.constantFrom('auto', 'enable', 'disable'),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(netconfs, fc.subarray([...VF_ADMIN_SETTINGS]), fc.boolean(), (netconf, enforces, tags) => {
        const { vf = {}, port, enforcers } = policyOf(netconf, enforces, tags)
        expect(Object.keys(enforcers)).toEqual(expect.arrayContaining(Object.keys(netconf)))
        const settings = new Set(Object.keys(vf).map((field) => (field.endsWith('TxRate') ? 'rate' : field)))
        expect(new Set(enforces).isSupersetOf(settings)).toBe(true)
        expect((port.maxTxRate === 0) === (netconf.max_tx_rate === undefined || enforces.includes('rate'))).toBe(true)
        expect(port.guardIp).toBe(netconf.spoofchk !== 'off')
      }),
    )
  })
})
