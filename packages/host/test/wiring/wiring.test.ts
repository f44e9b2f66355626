import { type NetOp, PRISTINE_TRAITS } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { contradictions, differences, type PodInterface } from '../../src/wiring/compare.ts'
import { podOps } from '../../src/wiring/pod-ops.ts'
import { cniResult } from '../../src/wiring/result.ts'

const RESULT: AttachResult = {
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: [{ address: '10.0.0.2/24', gateway: '10.0.0.1' }, { address: 'FD00:0:0::2/64' }],
  routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '10.0.0.0/24' }, { dst: '169.254.1.1/32', scope: 253 }],
  neighbours: [{ ip: '10.0.0.1', mac: '02:00:00:00:00:02' }],
  dns: {},
  sysctls: { 'net.ipv4.conf.eth0.arp_filter': '1' },
}

describe('podOps', () => {
  it('changes only what differs, wakes the interface when it is silent and right, and announces last', () => {
    const ops = podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, RESULT, true)
    expect(ops.map((op) => ('key' in op ? op.key : op.op))).toEqual([
      'net.ipv6.conf.lo.disable_ipv6',
      'net.ipv6.conf.eth0.disable_ipv6',
      'net.ipv6.conf.eth0.accept_ra',
      'net.ipv6.conf.eth0.accept_dad',
      'net.ipv4.conf.eth0.arp_filter',
      'link.set',
      'addr.add',
      'addr.add',
      'route.add',
      'route.add',
      'neigh.add',
      'announce',
    ])
    expect(podOps('eth0', { mac: '02:00:00:00:00:09', mtu: 9000 }, RESULT, true)[0]).toEqual({
      op: 'link.set',
      dev: 'eth0',
      mac: RESULT.mac,
      mtu: 1500,
    })
  })

  it('writes dots of interface names as the kernel wants them, and nothing of IPv6 where there is none', () => {
    expect(podOps('eth0.5', { mac: RESULT.mac, mtu: 1500 }, RESULT, true)[1]).toMatchObject({
      key: 'net.ipv6.conf.eth0/5.disable_ipv6',
      value: '0',
    })
    const plain = { ...RESULT, sysctls: {}, ips: [{ address: '10.0.0.2/24' }] }
    expect(podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, plain, true)[0]).toMatchObject({
      key: 'net.ipv6.conf.eth0.disable_ipv6',
      value: '1',
    })
    const silent = (ops: readonly NetOp[]): boolean => !ops.some(({ op }) => op === 'sysctl')
    expect(silent(podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, plain, false))).toBe(true)
    expect(silent(podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, { ...plain, mtu: 1279 }, true)), 'below the MTU of IPv6').toBe(true)
    expect(silent(podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, { ...plain, ips: [], routes: [] }, true)), 'a plain Ethernet').toBe(true)
  })

  it('keeps the kernel from making the route to a prefix that the network reaches in its own way', () => {
    const through = { ...RESULT, routes: [{ dst: '10.0.0.0/24', gw: '10.0.0.1' }] }
    const ops = podOps('eth0', { mac: RESULT.mac, mtu: 1500 }, through, true)
    expect(ops.filter(({ op }) => op === 'addr.add')).toEqual([
      { op: 'addr.add', dev: 'eth0', address: '10.0.0.2/24', prefixRoute: false },
      { op: 'addr.add', dev: 'eth0', address: 'FD00:0:0::2/64' },
    ])
    expect(ops.flatMap((op) => (op.op === 'route.add' ? [op.route] : []))).toEqual([{ dst: '10.0.0.1/32' }, through.routes[0]])
  })
})

describe('cniResult', () => {
  it('names the interface as the runtime does', () => {
    expect(cniResult({ ifName: 'eth0', netns: '/proc/7/ns/net', pciAddress: '0000:01:00.1', attached: RESULT })).toEqual({
      interfaces: [{ name: 'eth0', mac: RESULT.mac, mtu: 1500, sandbox: '/proc/7/ns/net', pciId: '0000:01:00.1' }],
      ips: [
        { address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 0 },
        { address: 'FD00:0:0::2/64', interface: 0 },
      ],
      routes: RESULT.routes,
      dns: {},
    })
  })
})

describe('differences and contradictions', () => {
  const link = {
    index: 2,
    name: 'eth0',
    mac: RESULT.mac,
    mtu: 1500,
    up: true,
    carrier: true,
    alias: '',
    kind: '',
    traits: PRISTINE_TRAITS,
    altNames: [],
    stats: { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n },
  }
  const has: PodInterface = {
    link,
    addresses: ['10.0.0.2/24', 'fd00::2/64', '10.9.9.9/32'],
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }, { dst: '169.254.1.1/32' }, { dst: '192.0.2.0/24' }],
    otherRoutes: [],
  }

  it('accept other spellings and things in excess', () => {
    expect(differences(has, RESULT)).toEqual([])
  })

  it('see a route as missing unless another interface has taken its place', () => {
    const without = { ...has, routes: has.routes.slice(1) }
    expect(differences(without, RESULT)).toEqual(['route 0.0.0.0/0 via 10.0.0.1 is missing'])
    expect(differences({ ...without, otherRoutes: [{ dst: '0.0.0.0/0', gw: '10.5.0.1' }] }, RESULT)).toEqual([])
    expect(differences({ ...without, otherRoutes: [{ dst: '0.0.0.0/0', gw: '10.5.0.1', priority: 9 }] }, RESULT)).toHaveLength(1)
    const moved = { dst: '0.0.0.0/0', gw: '10.0.0.1', table: 100 }
    expect(differences({ ...without, routes: [...without.routes, moved] }, RESULT), 'a later plugin moved it').toEqual([])
    expect(differences({ ...without, routes: [...without.routes, { ...moved, gw: '10.0.0.9' }] }, RESULT)).toHaveLength(1)
    const both = { ...RESULT, routes: [...RESULT.routes, moved] }
    expect(
      differences({ ...without, routes: [...without.routes, moved] }, both),
      'a route that was made stands for none but itself',
    ).toHaveLength(1)
  })

  it('accept a route of the main table that a later plugin has moved to a table of its own, but not one that is ours', () => {
    const moved = { ...has, routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1', table: 100 }, ...has.routes.slice(1)] }
    expect(differences(moved, RESULT)).toEqual([])
    expect(differences(moved, { ...RESULT, routes: [...RESULT.routes, { dst: '0.0.0.0/0', gw: '10.0.0.1', table: 100 }] })).toHaveLength(1)
  })

  it('compare MAC and MTU with what the final result states, else with our own', () => {
    const stated = { name: 'eth0', mac: '02:00:00:00:00:AA', mtu: 1300 }
    expect(differences({ ...has, link: { ...link, mac: '02:00:00:00:00:aa', mtu: 1300 } }, RESULT, stated)).toEqual([])
    expect(differences(has, RESULT, stated)).toEqual([`MAC is ${RESULT.mac} instead of 02:00:00:00:00:aa`, 'MTU is 1500 instead of 1300'])
    expect(differences(has, RESULT, { name: 'eth0' })).toEqual([])
  })

  it('compare a prevResult by address, not by prefix or spelling', () => {
    const told = {
      interfaces: [{ name: 'host' }, { name: 'eth0', sandbox: '/n', mac: RESULT.mac.toUpperCase() }],
      ips: [
        { address: 'fd00:0::2/128', interface: 1 },
        { address: '1.1.1.1/8', interface: 0 },
      ],
      routes: [],
      dns: {},
    }
    expect(contradictions(has, told, '/n')).toEqual([])
    expect(contradictions(has, { ...told, ips: [{ address: '10.0.0.3/24', interface: 1 }] }, '/n')).toEqual([
      'address 10.0.0.3/24 of prevResult is missing',
    ])
  })
})
