import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { context, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from '../lab.ts'
import { arp, ethernet, icmp6, ipv4, ipv6, tagged } from './frames.ts'

const OWN = '02:b0:00:00:00:01'
const OTHER = '02:b0:00:00:00:77'
const LINK_LOCAL = 'fe80::b0:ff:fe00:1'
const HOST_IPAM = { ips: [{ address: '10.9.0.1/24' }, { address: '10.9.1.1/24' }, { address: 'fd09::1/64' }], routes: [], dns: {} }
/** Passes every guard, and is told from what is sent before it by being the last. */
const MARKER = ethernet(OWN, 0x88b5, Buffer.alloc(1_000))
const marker = (vlan: number | undefined): Uint8Array => (vlan === undefined ? MARKER : tagged(MARKER, vlan))

describe.skipIf(unprivileged)(`what a pod may send ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  let lab: Lab

  beforeAll(async () => {
    lab = await Lab.create(2)
    for (const index of [0, 1])
      await lab.net.apply(lab.at(index).pod.path, [
        { op: 'sysctl', key: 'net.ipv6.conf.eth0.disable_ipv6', value: '1' },
        { op: 'link.set', dev: 'eth0', up: true },
      ])
  }, PATIENCE)
  afterAll(() => lab[Symbol.asyncDispose]())

  /** Attaches the sender as the configuration says, and somebody who sees all that gets through. */
  const set = async (
    netconf: object = {},
    { hostIpam = HOST_IPAM, receiver = {}, vlan }: { hostIpam?: typeof HOST_IPAM | null; receiver?: object; vlan?: number } = {},
  ): Promise<void> => {
    for (const [index, conf] of [
      [0, netconf],
      [1, { trust: 'on', spoofchk: 'off', ...receiver }],
    ] as const) {
      const request = lab.request(index, conf, index === 0 && hostIpam !== null ? { hostIpam } : {})
      await lab.adapter.detach({ key: request.key }, context())
      await lab.adapter.attach(request, context())
    }
    await open(vlan)
  }
  const received = async (): Promise<{ frames: number; bytes: number }> => {
    const stats = (await lab.net.link(lab.at(1).pod.path, 'eth0'))?.stats
    return { frames: Number(stats?.rxPackets), bytes: Number(stats?.rxBytes) }
  }
  const send = (...frames: Uint8Array[]): Promise<void> =>
    lab.net.apply(
      lab.at(0).pod.path,
      frames.map((frame) => ({ op: 'frame.send', dev: 'eth0', frame })),
    )

  /** The bridge hears of a link that has come up a moment later, and lets nothing through before. */
  const open = async (vlan?: number): Promise<void> => {
    const deadline = AbortSignal.timeout(20_000)
    const { bytes } = await received()
    for (let sent = 1; ; sent += 1) {
      await send(marker(vlan))
      await pause(10, undefined, { signal: deadline })
      const arrived = Math.floor(((await received()).bytes - bytes) / MARKER.length)
      if (arrived > 0) return
      if (sent % 100 === 0) deadline.throwIfAborted()
    }
  }

  /** Whether a frame gets to the other pod. @param vlan - of what is sent after it, to see that it would have arrived */
  const passes = async (frame: Uint8Array, vlan?: number): Promise<boolean> => {
    const before = await received()
    await send(frame, marker(vlan))
    const deadline = AbortSignal.timeout(10_000)
    while ((await received()).bytes - before.bytes < MARKER.length) await pause(1, undefined, { signal: deadline })
    return (await received()).frames - before.frames === 2
  }

  const nothing = Buffer.alloc(0)
  describe('with spoofchk by default', () => {
    beforeAll(() => set(), PATIENCE)

    test.each<[string, Uint8Array, boolean]>([
      ['its own MAC', ethernet(OWN, 0x88b5, nothing), true],
      ['another MAC', ethernet(OTHER, 0x88b5, nothing), false],
      ['its first IPv4 address', ipv4(OWN, '10.9.0.1'), true],
      ['its second IPv4 address', ipv4(OWN, '10.9.1.1'), true],
      ['another IPv4 address', ipv4(OWN, '10.9.0.2'), false],
      ['no IPv4 address', ipv4(OWN, '0.0.0.0'), false],
      ['another MAC, its own address', ipv4(OTHER, '10.9.0.1'), false],
      ['ARP of its own', arp(OWN, OWN, '10.9.0.1'), true],
      ['ARP that looks whether an address is free', arp(OWN, OWN, '0.0.0.0'), true],
      ['ARP with another address', arp(OWN, OWN, '10.9.0.2'), false],
      ['ARP with another MAC', arp(OWN, OTHER, '10.9.0.1'), false],
      ['ARP that is cut off', ethernet(OWN, 0x0806, nothing).subarray(0, 30), false],
      ['its IPv6 address', ipv6(OWN, 'fd09::1', 253, nothing), true],
      ['its link-local address', ipv6(OWN, LINK_LOCAL, 253, nothing), true],
      ['another IPv6 address', ipv6(OWN, 'fd09::2', 253, nothing), false],
      ['another link-local address', ipv6(OWN, 'fe80::1', 253, nothing), false],
      ['no IPv6 address', ipv6(OWN, '::', 253, nothing), false],
      ['a question who has an address', icmp6(OWN, 'fd09::1', 135, 'fd09::2'), true],
      ['a probe whether an address is free', icmp6(OWN, '::', 135, 'fd09::2'), true],
      ['an echo request from no address', icmp6(OWN, '::', 128), false],
      ['an echo request', icmp6(OWN, 'fd09::1', 128), true],
      ['that it has its address', icmp6(OWN, 'fd09::1', 136, 'fd09::1'), true],
      ['that it has its link-local address', icmp6(OWN, 'fd09::1', 136, LINK_LOCAL), true],
      ['that it has another address', icmp6(OWN, 'fd09::1', 136, 'fd09::2'), false],
      ['a router advertisement', icmp6(OWN, LINK_LOCAL, 134), false],
      ['a redirect', icmp6(OWN, LINK_LOCAL, 137), false],
      ['a question for routers', icmp6(OWN, LINK_LOCAL, 133), true],
      ['a report of groups', ipv6(OWN, '::', 0, Buffer.from([58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0]), 1), true],
      ['discovery behind a header', ipv6(OWN, 'fd09::1', 60, Buffer.from([58, 0, 1, 4, 0, 0, 0, 0, 136]), 255), false],
      ['a fragment', ipv6(OWN, 'fd09::1', 44, Buffer.from([17, 0, 0, 0, 0, 0, 0, 1])), true],
      ['a fragment that could be discovery', ipv6(OWN, 'fd09::1', 44, Buffer.from([58, 0, 0, 0, 0, 0, 0, 1]), 255), false],
      ['a tag', tagged(ethernet(OWN, 0x88b5, nothing), 100), false],
      ['a tag without VLAN', tagged(ethernet(OWN, 0x88b5, nothing), 0), false],
      ["a provider's tag", tagged(ethernet(OWN, 0x88b5, nothing), 100, 0x88a8), false],
    ])('%s', async (_what, frame, expected) => {
      expect(await passes(frame)).toBe(expected)
    })
  })

  test('without addresses only its MAC is looked at', async () => {
    await set({}, { hostIpam: null })
    expect(await passes(ipv4(OWN, '192.0.2.1'))).toBe(true)
    expect(await passes(ipv4(OTHER, '192.0.2.1'))).toBe(false)
  })

  test('with spoofchk off, anything', async () => {
    await set({ spoofchk: 'off' })
    for (const frame of [ipv4(OTHER, '192.0.2.1'), arp(OTHER, OTHER, '10.9.0.2'), icmp6(OTHER, 'fe80::1', 134)])
      expect(await passes(frame)).toBe(true)
    expect(await passes(tagged(ipv4(OWN, '10.9.0.1'), 100))).toBe(false)
  })

  test('with trust on, another MAC, but no other address', async () => {
    await set({ trust: 'on' })
    expect(await passes(ipv4(OTHER, '10.9.0.1'))).toBe(true)
    expect(await passes(ipv4(OTHER, '10.9.0.2'))).toBe(false)
    expect([await passes(arp(OTHER, OTHER, '10.9.0.1')), await passes(arp(OTHER, OTHER, '10.9.0.2'))]).toEqual([true, false])
    const solicited = (source: string): Promise<boolean> => passes(icmp6(OTHER, source, 135, 'fd09::7'))
    expect([await solicited('fe80::b0:ff:fe00:77'), await solicited('fd09::2')]).toEqual([true, false])
  })

  test('in a trunk, its VLANs and no others; their addresses are not known, its MAC is', async () => {
    const vlans = { vlanTrunk: [{ id: 5 }, { minID: 100, maxID: 102 }] }
    await set({ ...vlans, vlan: 7 }, { receiver: { vlanTrunk: [{ minID: 1, maxID: 4094 }] }, vlan: 5 })
    for (const [vlan, expected] of [
      [4, false],
      [5, true],
      [6, false],
      [99, false],
      [100, true],
      [102, true],
      [103, false],
      [7, false],
      [4094, false],
    ] as const)
      expect([vlan, await passes(tagged(ipv4(OWN, '192.0.2.1'), vlan), 5)]).toEqual([vlan, expected])
    expect(await passes(tagged(ipv4(OTHER, '10.9.0.1'), 5), 5)).toBe(false)
    expect(await passes(tagged(ipv4(OWN, '10.9.0.1'), 5, 0x88a8), 5)).toBe(false)
    expect([await passes(ipv4(OWN, '10.9.0.1'), 5), await passes(ipv4(OWN, '10.9.0.2'), 5)], 'without tag: in VLAN 7').toEqual([
      true,
      false,
    ])
  })

  test('in a trunk without VLAN of its own, no frame without tag', async () => {
    await set({ vlan_trunk: '5' }, { receiver: { vlanTrunk: [{ minID: 1, maxID: 4094 }] }, vlan: 5 })
    expect(await passes(ipv4(OWN, '10.9.0.1'), 5)).toBe(false)
    expect(await passes(tagged(ipv4(OWN, '10.9.0.1'), 5), 5)).toBe(true)
  })

  test('where the card tags, that VLAN and no frame without', async () => {
    await lab.start({ hostVlan: true })
    const hostEnforces = ['vlan' as const]
    for (const index of [0, 1]) {
      const request = lab.request(
        index,
        { vlan: 30, ...(index === 1 ? { trust: 'on', spoofchk: 'off' } : {}) },
        { hostIpam: HOST_IPAM, hostEnforces },
      )
      await lab.adapter.detach({ key: request.key }, context())
      expect((await lab.adapter.attach(request, context())).vf?.vlan).toEqual({ id: 30, qos: 0, protocol: '802.1q' })
    }
    await open(30)
    for (const [frame, expected] of [
      [tagged(ipv4(OWN, '10.9.0.1'), 30), true],
      [tagged(ipv4(OWN, '10.9.0.2'), 30), false],
      [tagged(tagged(ipv4(OWN, '10.9.0.2'), 30), 30), false],
      [tagged(ipv4(OWN, '10.9.0.1'), 31), false],
      [ipv4(OWN, '10.9.0.1'), false],
    ] as const)
      expect(await passes(frame, 30)).toBe(expected)
    await lab.start()
  })
})
