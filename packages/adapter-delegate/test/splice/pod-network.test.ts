import { type Link, PRISTINE_TRAITS } from '@cni-offload/linux'
import type { AttachResult, Route } from '@cni-offload/sdk'
import type { CniResult } from '@cni-offload/sdk/cni'
import fc from 'fast-check'
import { BlockList } from 'node:net'
import { describe, expect, it } from 'vitest'
import { podNetwork } from '../../src/index.ts'

const link: Link = {
  index: 3,
  name: 'eth0',
  mac: '02:00:00:00:00:05',
  mtu: 1450,
  up: true,
  carrier: true,
  alias: '',
  kind: 'veth',
  traits: PRISTINE_TRAITS,
  altNames: [],
  stats: { rxPackets: 0n, txPackets: 0n, rxBytes: 0n, txBytes: 0n },
}

const network = (cni: Partial<CniResult>, routes: readonly Route[] = []): AttachResult =>
  podNetwork({ interfaces: [], ips: [], routes: [], dns: {}, ...cni }, { link, addresses: [], routes, neighbours: [] }, {})

describe('podNetwork', () => {
  it('takes only addresses of the pod’s interface', () => {
    const interfaces = [{ name: 'veth1' }, { name: 'eth0', sandbox: '/run/netns/x' }, { name: 'eth0' }]
    const ips = [
      { address: '10.0.0.1/24', interface: 0 },
      { address: '10.0.0.2/24', interface: 1 },
      { address: '10.0.0.3/24', interface: 2 },
      { address: '10.0.0.4/24' },
    ]
    expect(network({ interfaces, ips }).ips).toEqual([{ address: '10.0.0.2/24' }, { address: '10.0.0.4/24' }])
  })

  it('believes the kernel about routes, and takes from the result what the kernel does not have', () => {
    const ips = [{ address: '10.0.0.2/24', gateway: '10.0.0.1' }]
    const routes = [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.0.0.9', mtu: 1400 }]
    expect(network({ ips, routes }, [{ dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1430 }]).routes).toEqual([
      { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1430 },
      { dst: '192.168.0.0/16', gw: '10.0.0.9', mtu: 1400 },
    ])
  })

  it('gives a route without a gateway that of its family', () => {
    const ips = [
      { address: '10.0.0.2/24', gateway: '10.0.0.1' },
      { address: 'fd00::2/64', gateway: 'fd00::1' },
    ]
    expect(network({ ips, routes: [{ dst: '::/0' }, { dst: '0.0.0.0/0' }] }).routes).toEqual([
      { dst: '::/0', gw: 'fd00::1' },
      { dst: '0.0.0.0/0', gw: '10.0.0.1' },
    ])
  })

  it('does what Calico needs: no prefix, a gateway on the link that is in no prefix', () => {
    const ips = [{ address: '192.168.7.9/32' }]
    const seen: Route[] = [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }, { dst: '169.254.1.1/32' }]
    expect(network({ ips }, seen)).toMatchObject({ ips, routes: [seen[1], seen[0]] })
    expect(network({ ips }, seen.slice(0, 1)).routes).toEqual([{ dst: '169.254.1.1/32', scope: 253 }, seen[0]])
  })

  it('leaves link-local gateways alone', () => {
    const seen = [{ dst: '::/0', gw: 'fe80::1' }]
    expect(network({ ips: [{ address: 'fd00::9/128' }] }, seen).routes).toEqual(seen)
  })

  it('refuses what is no network, naming it', () => {
    expect(() => network({ ips: [{ address: '10.0.0.2' }] })).toThrow(
      expect.objectContaining({ code: 'ADAPTER_FAILED', message: expect.stringContaining('10.0.0.2') }),
    )
  })

  const ipv4 = fc.ipV4()
  const route = fc.record(
    { dst: fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([ip, length]) => `${ip}/${length}`), gw: ipv4 },
    { requiredKeys: ['dst'] },
  )

  it('orders any routes so that each gateway is on the link when its turn comes', () => {
    fc.assert(
      fc.property(fc.array(route, { maxLength: 8 }), fc.array(route, { maxLength: 4 }), ipv4, (seen, claimed, ip) => {
        const { routes, ips } = network({ ips: [{ address: `${ip}/24` }], routes: claimed }, seen)
        const onLink = new BlockList()
        for (const { address } of ips) onLink.addSubnet(address.split('/')[0] ?? '', Number(address.split('/')[1]))
        for (const { dst, gw } of routes)
          if (gw === undefined) onLink.addSubnet(dst.split('/')[0] ?? '', Number(dst.split('/')[1]))
          else expect(onLink.check(gw)).toBe(true)
        for (const { dst } of seen) expect(routes.map((known) => known.dst)).toContain(dst)
      }),
    )
  })
})
