import { describe, expect, it } from 'vitest'
import { attachResult, formatAttachmentKey, formatVfId, ipAddress, ipCidr, macAddress, mtu } from '../../src/index.ts'

const whole = {
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: [{ address: '10.0.0.2/32' }, { address: 'fd00::2/64', gateway: 'fd00::1' }],
  routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1', scope: 0 }],
  neighbours: [{ ip: '169.254.1.1', mac: '02:00:00:00:00:02' }],
  dns: {},
  sysctls: { 'net.ipv4.conf.eth0.arp_filter': '1' },
}

describe('domain schemas', () => {
  it('accept an attach result, lowering MAC addresses', () => {
    expect(attachResult.parse({ ...whole, mac: '02:00:00:00:00:AB' })).toEqual({ ...whole, mac: '02:00:00:00:00:ab' })
  })

  it('accept a slash for a dot in the name of an interface', () => {
    const sysctls = { 'net.ipv4.conf.eth0/100.arp_filter': '1', 'net.ipv6.neigh.a/b/c.gc_stale_time': '60' }
    expect(attachResult.parse({ ...whole, sysctls }).sysctls).toEqual(sysctls)
  })

  it.each([
    { mac: 'x' },
    { mtu: 0 },
    { ips: [{ address: '10.0.0.2' }] },
    { routes: [{ dst: 'default' }] },
    { neighbours: [{ ip: '10.0.0.1', mac: '' }] },
    { sysctls: { 'kernel.panic': '1' } },
    { sysctls: { 'net/../kernel/panic': '1' } },
    { sysctls: { 'net...kernel.panic': '1' } },
    { sysctls: { 'net.ipv4.x\n': '1' } },
    { sysctls: { 'net/ipv4.conf.x': '1' } },
    { sysctls: { 'net.ipv4.conf.//.x': '1' } },
    { sysctls: { 'net./.kernel.panic': '1' } },
    { sysctls: { 'net.ipv4.eth0/.x': '1' } },
    { sysctls: { 'net.ipv4.eth0//100.x': '1' } },
    { ips: Array(65).fill({ address: '10.0.0.2/32' }) },
  ])('refuse %j', (wrong) => {
    expect(attachResult.safeParse({ ...whole, ...wrong }).success).toBe(false)
  })

  it.each(['1.2.3.4', '::1', 'fd00::a'])('take %s for an address', (text) => expect(ipAddress.parse(text)).toBe(text))
  it.each(['1.2.3', '1.2.3.4/24', '01.2.3.4', 'fe80::1%eth0', ''])('do not take %j for an address', (text) =>
    expect(ipAddress.safeParse(text).success).toBe(false),
  )
  it.each(['10.0.0.1/33', 'fd00::/129', '10.0.0.1', '/24'])('do not take %j for a prefix', (text) =>
    expect(ipCidr.safeParse(text).success).toBe(false),
  )
  it.each(['0200.0000.0001', '02:00:00:00:00', '02:00:00:00:00:01\n'])('do not take %j for a MAC', (text) =>
    expect(macAddress.safeParse(text).success).toBe(false),
  )
  it.each([67, 65_536, 1500.5])('do not take %d for an MTU', (value) => expect(mtu.safeParse(value).success).toBe(false))
})

describe('identities as texts', () => {
  it('are joined by a slash, which no part can hold', () => {
    expect(formatAttachmentKey({ network: 'n', containerId: 'c', ifName: 'eth0' })).toBe('n/c/eth0')
    expect(formatVfId({ device: 'octeon0', index: 3 })).toBe('octeon0/3')
  })
})
