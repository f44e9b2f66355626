import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import type { AttachResult, Route } from '@cni-offload/sdk'
import { TestNetns } from '@cni-offload/testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { obstacle, update } from '../../src/reconcile/update.ts'
import { differences, readPodInterface } from '../../src/wiring/compare.ts'
import { podOps } from '../../src/wiring/pod-ops.ts'

const unprivileged = process.getuid?.() !== 0

// Small spaces, so that addresses, destinations and gateways meet in all possible ways. Gateways are never a pod's own address.
const hex = (most: number): fc.Arbitrary<string> => fc.integer({ min: 2, max: most }).map((value) => value.toString(16))
const net4 = fc.constantFrom('10.0.0', '10.0.1', '10.1.0', '192.0.2')
const net6 = fc.constantFrom('fd00:', 'fd00:0:0:1:', 'fd01:')
const host4 = fc.tuple(net4, fc.integer({ min: 2, max: 250 })).map((parts) => parts.join('.'))
const host6 = fc.tuple(net6, hex(0xfff)).map(([net, host]) => `${net}:${host}`)
const within = (ip: fc.Arbitrary<string>, ...lengths: number[]): fc.Arbitrary<string> =>
  fc.tuple(ip, fc.constantFrom(...lengths)).map((parts) => parts.join('/'))
const address = fc.oneof(within(host4, 8, 16, 24, 31, 32), within(host6, 32, 48, 64, 127, 128))

const numbers = {
  mtu: fc.integer({ min: 0, max: 70_000 }),
  advmss: fc.integer({ min: 0, max: 70_000 }),
  priority: fc.constantFrom(0, 1, 256, 1024, 4_000_000_000),
  table: fc.constantFrom(0, 100, 254, 70_000),
}
const routeOf = (dst: fc.Arbitrary<string>, gw: fc.Arbitrary<string>, direct: object): fc.Arbitrary<Route> =>
  fc
    .record({ dst, gw, ...numbers }, { requiredKeys: ['dst'] })
    .map((route) => (route.gw === undefined ? { ...route, ...direct } : route) as Route)
const route = fc.oneof(
  routeOf(
    fc.oneof(fc.constant('0.0.0.0/0'), within(host4, 7, 8, 16, 24, 32)),
    fc.oneof(
      net4.map((net) => `${net}.1`),
      fc.constant('169.254.1.1'),
    ),
    { scope: 253 },
  ),
  routeOf(
    fc.oneof(fc.constant('::/0'), within(host6, 31, 32, 48, 64, 128)),
    fc.oneof(
      net6.map((net) => `${net}:1`),
      fc.constant('fe80::1'),
    ),
    {},
  ),
)

const network: fc.Arbitrary<AttachResult> = fc
  .record({
    mac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'),
    mtu: fc.integer({ min: 1280, max: 9000 }),
    ips: fc.uniqueArray(address, { selector: (cidr) => cidr.slice(0, cidr.indexOf('/')), maxLength: 5 }),
    routes: fc.array(route, { maxLength: 8 }),
  })
  .map(({ ips, ...rest }) => ({ ...rest, ips: ips.map((cidr) => ({ address: cidr })), neighbours: [], dns: {}, sysctls: {} }))

describe.skipIf(unprivileged)('any network, given to the kernel (needs root for namespaces)', () => {
  let net: LinuxNet
  let pod: TestNetns

  beforeAll(async () => {
    net = createLinuxNet()
    pod = await TestNetns.create(net, 'wiring')
    await net.apply(pod.path, [
      { op: 'link.add-veth', dev: 'eth0', peer: { name: 'peer' } },
      { op: 'sysctl', key: 'net.ipv6.conf.peer.disable_ipv6', value: '1' },
      { op: 'link.set', dev: 'peer', mtu: 9000, up: true },
    ])
  })
  afterAll(async () => {
    await pod[Symbol.asyncDispose]()
    await net[Symbol.asyncDispose]()
  })

  const wire = async (result: AttachResult): Promise<string[]> => {
    await net.apply(pod.path, [
      { op: 'link.set', dev: 'eth0', up: false },
      { op: 'addr.flush', dev: 'eth0' },
    ])
    const link = await net.link(pod.path, 'eth0')
    if (link === undefined) throw new Error('eth0 is gone')
    await net.apply(pod.path, podOps('eth0', link, result, true))
    const has = await readPodInterface(net, pod.path, 'eth0')
    return has === undefined ? ['gone'] : differences(has, result)
  }

  it('is taken by it, and CHECK finds no difference', async () => {
    await fc.assert(
      fc.asyncProperty(network, async (result) => {
        expect(await wire(result)).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  it('is followed by a running pod when it changes, MAC and addresses apart', async () => {
    await fc.assert(
      fc.asyncProperty(network, network, async (before, other) => {
        const after = { ...before, mtu: other.mtu, routes: other.routes }
        fc.pre(obstacle(before, after) === undefined)
        expect(await wire(before)).toEqual([])
        await net.apply(pod.path, update('eth0', before, after).ops)
        const followed = await readPodInterface(net, pod.path, 'eth0')
        if (followed === undefined) throw new Error('eth0 is gone')
        expect(differences(followed, { ...after, mac: before.mac })).toEqual([])
        expect(await wire(after)).toEqual([])
        const fresh = await readPodInterface(net, pod.path, 'eth0')
        const text = (routes: readonly Route[] = []): string[] =>
          routes.map((one) => JSON.stringify(one, Object.keys(one).toSorted())).toSorted()
        expect(text(followed.routes)).toEqual(text(fresh?.routes))
      }),
      { numRuns: 100 },
    )
  })

  it('leaves no address and no route that CHECK would not miss', async () => {
    await fc.assert(
      fc.asyncProperty(network, async (result) => {
        expect(await wire(result)).toEqual([])
        const has = await readPodInterface(net, pod.path, 'eth0')
        if (has === undefined) throw new Error('eth0 is gone')
        for (const gone of has.routes)
          expect(differences({ ...has, routes: has.routes.filter((one) => one !== gone) }, result)).toHaveLength(1)
        for (const { address: cidr } of result.ips) {
          const left = has.addresses.filter((one) => one !== cidr)
          expect(differences({ ...has, addresses: left }, result)).toHaveLength(has.addresses.length - left.length)
        }
      }),
      { numRuns: 100 },
    )
  })
})
