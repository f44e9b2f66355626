import type { AttachResult } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { obstacle, update } from '../../src/reconcile/update.ts'

const BEFORE: AttachResult = {
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: [{ address: '10.0.0.2/24', gateway: '10.0.0.1' }],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.0.0.1' },
    { dst: '10.9.0.0/16', gw: '10.0.0.1' },
  ],
  neighbours: [{ ip: '10.0.0.1', mac: '02:00:00:00:00:02' }],
  dns: {},
  sysctls: { 'net.ipv4.a': '1', 'net.ipv4.b': '1' },
}

describe('update', () => {
  it('changes what is different, removes what is in excess first, and says what', () => {
    const after: AttachResult = {
      ...BEFORE,
      mtu: 1400,
      routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.254' }],
      neighbours: [{ ip: '10.0.0.1', mac: '02:00:00:00:00:03' }],
      sysctls: { 'net.ipv4.a': '1', 'net.ipv4.b': '2' },
    }
    expect(update('eth0', BEFORE, after)).toEqual({
      changes: [
        'the MTU is 1400 instead of 1500',
        'route 0.0.0.0/0 via 10.0.0.1 is gone',
        'route 10.9.0.0/16 via 10.0.0.1 is gone',
        'route 0.0.0.0/0 via 10.0.0.254 is new',
        'neighbour 10.0.0.1 is gone',
        'neighbour 10.0.0.1 is 02:00:00:00:00:03',
        'net.ipv4.b is 2',
      ],
      ops: [
        { op: 'link.set', dev: 'eth0', mtu: 1400 },
        { op: 'route.del', dev: 'eth0', route: { dst: '10.9.0.0/16', gw: '10.0.0.1' } },
        { op: 'route.del', dev: 'eth0', route: { dst: '0.0.0.0/0', gw: '10.0.0.1' } },
        { op: 'route.add', dev: 'eth0', route: { dst: '0.0.0.0/0', gw: '10.0.0.254' }, existsOk: true },
        { op: 'neigh.del', dev: 'eth0', ip: '10.0.0.1' },
        { op: 'neigh.add', dev: 'eth0', ip: '10.0.0.1', mac: '02:00:00:00:00:03' },
        { op: 'sysctl', key: 'net.ipv4.b', value: '2' },
      ],
    })
  })

  it('leaves everything where only resolver settings change, and other spellings', () => {
    const after = { ...BEFORE, dns: { nameservers: ['10.0.0.53'] }, routes: [{ ...BEFORE.routes[0]!, priority: 0 }, BEFORE.routes[1]!] }
    expect(update('eth0', BEFORE, after)).toEqual({ changes: [], ops: [] })
  })

  it('tells what the physical function enforces from now on', () => {
    const vlan = { id: 100, qos: 0, protocol: '802.1q' } as const
    const before = { ...BEFORE, vf: { vlan, minTxRate: 0, maxTxRate: 10 } }
    expect(update('eth0', before, { ...before, vf: { vlan: { ...vlan }, minTxRate: 0, maxTxRate: 20, trust: true } })).toEqual({
      changes: ['maxTxRate of the VF is 20', 'trust of the VF is true'],
      ops: [],
    })
  })

  it('knows what a running pod cannot follow', () => {
    expect(obstacle({ ...BEFORE, vf: { trust: false, maxTxRate: 1 } }, { ...BEFORE, vf: { maxTxRate: 2 } })).toContain('trust')
    expect(obstacle({ ...BEFORE, vf: { trust: false } }, { ...BEFORE, vf: { trust: true, maxTxRate: 2 } })).toBeUndefined()
    const six = { ...BEFORE, ips: [{ address: 'fd00::2/64' }], routes: [] }
    expect(obstacle(BEFORE, { ...BEFORE, mtu: 1000 })).toBeUndefined()
    expect(obstacle(six, { ...six, mtu: 1000 })).toContain('too small for IPv6')
    expect(obstacle({ ...six, mtu: 1000 }, six)).toContain('IPv6 is new')
    expect(obstacle(BEFORE, { ...BEFORE, routes: [{ dst: '10.0.0.0/24', gw: '10.0.0.1' }] })).toContain('its own address 10.0.0.2/24')
  })
})
