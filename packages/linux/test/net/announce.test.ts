import { closeSync, readSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { NetnsPath, NetOp } from '../../src/index.ts'
import { loadLibc } from '../../src/native/libc.ts'
import { announcement, internetChecksum, reverseArp, tagged } from '../../src/net/announce.ts'
import { SessionFactory } from '../../src/net/session.ts'
import { parseIp, parseMac } from '../../src/netlink/address.ts'
import { ipJson, run, TestNet, unprivileged } from '../support.ts'

const MAC = '02:00:00:00:00:01'

describe('announcements', () => {
  test('of IPv4 are gratuitous ARP requests', () => {
    expect(announcement(parseMac(MAC), parseIp('10.0.0.2')).toString('hex')).toBe(
      `ffffffffffff${'020000000001'}0806${'0001080006040001'}${'020000000001'}0a000002${'000000000000'}0a000002`,
    )
  })

  test('of IPv6 are unsolicited advertisements to all nodes that override what was cached', () => {
    const frame = announcement(parseMac(MAC), parseIp('fd00::2'))
    const [source, allNodes] = [parseIp('fd00::2').bytes.toString('hex'), parseIp('ff02::1').bytes.toString('hex')]
    expect(frame.subarray(0, 54).toString('hex')).toBe(`333300000001${'020000000001'}86dd${'60000000'}0020${'3aff'}${source}${allNodes}`)
    expect(frame.subarray(54, 56).toString('hex')).toBe('8800')
    expect(frame.subarray(58).toString('hex')).toBe(`20000000${source}0201${'020000000001'}`)
  })

  test('without an address are reverse ARP requests about the MAC itself', () => {
    expect(reverseArp(parseMac(MAC)).toString('hex')).toBe(
      `ffffffffffff${'020000000001'}8035${'0001080006040003'}${'020000000001'}00000000${'020000000001'}00000000`,
    )
  })

  test.each([
    [{ id: 100, qos: 0, protocol: '802.1q' }, '81000064'],
    [{ id: 4094, qos: 7, protocol: '802.1ad' }, '88a8effe'],
  ] as const)('in VLAN %j have its tag after the addresses', (vlan, tag) => {
    const frame = reverseArp(parseMac(MAC))
    expect(tagged(frame, vlan).toString('hex')).toBe(`${frame.toString('hex', 0, 12)}${tag}${frame.toString('hex', 12)}`)
  })

  test('have a checksum that sums up to nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 200 }), (data) => {
        const even = Buffer.from(data.subarray(0, data.length & ~1))
        even.writeUInt16BE(0, 0)
        even.writeUInt16BE(internetChecksum(even), 0)
        expect(internetChecksum(even)).toBe(0)
      }),
    )
  })
})

describe.skipIf(unprivileged)('announcing addresses (needs root for network namespaces)', () => {
  const libc = loadLibc()
  let lab: TestNet
  let a: NetnsPath
  let b: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    ;[a, b] = await Promise.all([lab.netns(), lab.netns()])
    await lab.apply(
      a,
      { op: 'link.add-veth', dev: 'v0', mac: MAC, peer: { name: 'p0', netns: b } },
      { op: 'link.set', dev: 'v0', up: true },
    )
    const addresses = ['10.0.0.1/24', 'fd00::1/64'].map((address): NetOp => ({ op: 'addr.add', dev: 'p0', address }))
    await lab.apply(b, { op: 'link.set', dev: 'p0', up: true }, ...addresses)
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  test('puts exactly these frames on the wire', async () => {
    const expected = ['10.0.0.2', 'fd00::2'].map((address) => announcement(parseMac(MAC), parseIp(address)).toString('hex'))
    using sessions = new SessionFactory(libc)
    using session = sessions.open(b)
    const ETH_P_ALL_BIG_ENDIAN = 0x0300
    const listener = session.inside(() => libc.socket(17, 3, ETH_P_ALL_BIG_ENDIAN))
    try {
      const seconds = Buffer.alloc(16)
      seconds.writeBigInt64LE(5n)
      libc.setsockopt(listener, 1, 20, seconds)
      await lab.apply(a, { op: 'announce', dev: 'v0', addresses: ['10.0.0.2/24', 'fd00::2'] })
      const seen: string[] = []
      const buffer = Buffer.alloc(2048)
      // A read that waits five seconds in vain throws EAGAIN.
      while (!expected.every((frame) => seen.includes(frame))) seen.push(buffer.toString('hex', 0, readSync(listener, buffer)))
      for (const frame of expected) expect(seen.filter((each) => each === frame)).toHaveLength(1)
    } finally {
      closeSync(listener)
    }
  })

  test('makes neighbours correct what they had cached', async () => {
    for (const address of ['10.0.0.2', 'fd00::2']) {
      expect(run(b, 'ip', 'neigh', 'add', address, 'lladdr', '02:00:00:00:00:99', 'dev', 'p0', 'nud', 'reachable').status).toBe(0)
    }
    await lab.apply(a, { op: 'announce', dev: 'v0', addresses: ['10.0.0.2', 'fd00::2'] })
    await vi.waitFor(() => {
      const entries = Object.fromEntries(ipJson(b, 'neigh').map((entry) => [entry['dst'], entry['lladdr']]))
      expect(entries).toMatchObject({ '10.0.0.2': MAC, 'fd00::2': MAC })
    })
  })

  test('of nothing is nothing; what cannot be announced is refused', async () => {
    await lab.apply(a, { op: 'announce', dev: 'v0', addresses: [] })
    await expect(lab.apply(a, { op: 'announce', dev: 'v0', addresses: ['x'] })).rejects.toMatchObject({ code: 'KERNEL_REFUSED' })
    await expect(lab.apply(a, { op: 'announce', dev: 'nope', addresses: ['10.0.0.2'] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `announce in ${a}: nope: there is no device nope (ENODEV)`,
    })
    await lab.apply(a, { op: 'link.set', dev: 'v0', up: false })
    await expect(lab.apply(a, { op: 'announce', dev: 'v0', addresses: ['10.0.0.2'] })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('ENETDOWN'),
    })
  })
})
