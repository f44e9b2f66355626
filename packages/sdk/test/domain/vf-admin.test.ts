import { describe, expect, it } from 'vitest'
import { askedVfSettings, attachResult, VF_ADMIN_FIELDS, VF_ADMIN_SETTINGS, vfAdminSetting, vfAdminSettings } from '../../src/index.ts'

const ALL = {
  mac: '02:00:00:00:00:01',
  vlan: { id: 100, qos: 3, protocol: '802.1ad' },
  minTxRate: 10,
  maxTxRate: 100,
  spoofCheck: true,
  trust: false,
  linkState: 'enable',
} as const

describe('settings of a VF by its physical function', () => {
  it.each([ALL, {}, { vlan: { id: 0, qos: 0, protocol: '802.1q' } }, { minTxRate: 5 }, { minTxRate: 5, maxTxRate: 0 }])(
    '%j are taken as they are',
    (settings) => expect(vfAdminSettings.parse(settings)).toEqual(settings),
  )

  it('have their MAC address lowered', () => {
    expect(vfAdminSettings.parse({ mac: '02:00:00:00:00:AB' })).toEqual({ mac: '02:00:00:00:00:ab' })
  })

  it.each([
    ['vlan.id', { vlan: { ...ALL.vlan, id: 4095 } }],
    ['vlan.id', { vlan: { ...ALL.vlan, id: -1 } }],
    ['vlan.qos', { vlan: { ...ALL.vlan, qos: 8 } }],
    ['vlan.protocol', { vlan: { ...ALL.vlan, protocol: '802.1x' } }],
    ['minTxRate', { minTxRate: 101, maxTxRate: 100 }],
    ['maxTxRate', { maxTxRate: 2 ** 32 }],
    ['maxTxRate', { maxTxRate: 0.5 }],
    ['linkState', { linkState: 'up' }],
    ['trust', { trust: 'on' }],
    ['mac', { mac: '02:00' }],
  ])('are refused where %s makes no sense: %j', (field, settings) => {
    const { error } = attachResult.safeParse({
      mac: ALL.mac,
      mtu: 1500,
      ips: [],
      routes: [],
      neighbours: [],
      dns: {},
      sysctls: {},
      vf: settings,
    })
    expect(error?.issues.map(({ path }) => path.join('.'))).toEqual([`vf.${field}`])
  })

  it('are named by what a driver makes, the two rates as one', () => {
    expect(askedVfSettings(ALL)).toEqual(VF_ADMIN_SETTINGS)
    expect(askedVfSettings({ minTxRate: 0, trust: false })).toEqual(['rate', 'trust'])
    expect(askedVfSettings({})).toEqual([])
    expect(askedVfSettings(undefined)).toEqual([])
    expect(vfAdminSetting.safeParse('minTxRate').success).toBe(false)
  })

  it('belong to one name each', () => {
    expect(Object.values(VF_ADMIN_FIELDS).flat().toSorted()).toEqual(Object.keys(ALL).toSorted())
  })
})
