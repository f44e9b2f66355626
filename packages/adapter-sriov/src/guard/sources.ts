import { ipBytes, linkLocal, macBytes } from './addresses.ts'
import type { FrameProgramBuilder } from './frame.ts'

/** What a pod may send as. */
export interface Identity {
  /** MAC of its interface. */
  readonly mac: string
  /** Its addresses, with or without prefix length; none if they are not known. */
  readonly ips: readonly string[]
}

/** Where things are in a frame, counted from its beginning. */
const AT = {
  source: 6,
  type: 12,
  ipv4Source: 26,
  arpSenderMac: 22,
  arpSenderIp: 28,
  ipv6Next: 20,
  ipv6HopLimit: 21,
  ipv6Source: 22,
  icmp6Type: 54,
  icmp6Target: 62,
} as const
const TYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd, vlan: 0x8100, serviceVlan: 0x88a8 } as const
const ICMP6 = 58
const ND = { routerAdvertisement: 134, neighbourSolicitation: 135, neighbourAdvertisement: 136, redirect: 137 } as const
/** Headers that may stand between IPv6 and ICMPv6. */
const EXTENSIONS = [0, 43, 44, 51, 60, 135]
/** Neighbour discovery is not heard with any other hop limit. */
const ND_HOP_LIMIT = 255
/** The prefix of all link-local addresses that interfaces make themselves. */
const LINK_LOCAL = Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0])
const UNSPECIFIED = { ipv4: Buffer.alloc(4), ipv6: Buffer.alloc(16) } as const

/** Drops frames from another MAC than the pod's. */
export function guardMac(program: FrameProgramBuilder, { mac }: Identity): void {
  program.copy(AT.type, program.drop).bytesIf(AT.source, '!=', macBytes(mac), program.drop)
}

/**
 * Drops packets from other addresses than the pod's: IPv4, what ARP says, IPv6, and what neighbour discovery says. Addresses are still
 * probed (from none), and no router is announced. Other protocols pass.
 *
 * @param anyMac - whether the pod may have changed its MAC, and with it its link-local address
 */
export function guardIp(program: FrameProgramBuilder, identity: Identity, anyMac: boolean): void {
  const [ipv4, arp, ipv6, done] = ['ipv4', 'arp', 'ipv6', 'done'].map((name) => program.label(name)) as [symbol, symbol, symbol, symbol]
  program
    .copy(AT.type + 2, program.drop)
    .numberIf(AT.type, TYPE.ipv4, ipv4)
    .numberIf(AT.type, TYPE.arp, arp)
    .numberIf(AT.type, TYPE.ipv6, ipv6)
    // A second tag would hide what is behind it.
    .numberIf(AT.type, TYPE.vlan, program.drop)
    .numberIf(AT.type, TYPE.serviceVlan, program.drop)
  program.code.jump(done)
  const own = identity.ips.map(ipBytes)
  const own4 = own.filter((bytes) => bytes.length === 4)
  const own6 = [anyMac ? LINK_LOCAL : linkLocal(identity.mac), ...own.filter((bytes) => bytes.length === 16)]
  ownIpv4(program.at(ipv4), own4, done)
  ownArp(program.at(arp), anyMac ? undefined : identity.mac, own4, done)
  ownIpv6(program.at(ipv6), own6, done)
  program.at(done)
}

function ownIpv4(program: FrameProgramBuilder, own: readonly Uint8Array[], ok: symbol): void {
  program.copy(AT.ipv4Source + 4, program.drop)
  for (const address of own) program.bytesIf(AT.ipv4Source, '==', address, ok)
  program.code.jump(program.drop)
}

function ownArp(program: FrameProgramBuilder, mac: string | undefined, own: readonly Uint8Array[], ok: symbol): void {
  program.copy(AT.arpSenderIp + 4, program.drop)
  if (mac !== undefined) program.bytesIf(AT.arpSenderMac, '!=', macBytes(mac), program.drop)
  for (const address of [...own, UNSPECIFIED.ipv4]) program.bytesIf(AT.arpSenderIp, '==', address, ok)
  program.code.jump(program.drop)
}

function ownIpv6(program: FrameProgramBuilder, own: readonly Uint8Array[], ok: symbol): void {
  const [sourceIsOwn, sourceIsNone, icmp, advertisement] = ['own', 'none', 'icmp', 'advertisement'].map((name) => program.label(name)) as [
    symbol,
    symbol,
    symbol,
    symbol,
  ]
  program.copy(AT.icmp6Type, program.drop)
  for (const address of own) program.bytesIf(AT.ipv6Source, '==', address, sourceIsOwn)
  program.bytesIf(AT.ipv6Source, '==', UNSPECIFIED.ipv6, sourceIsNone)
  program.code.jump(program.drop)

  // Only probes and reports of groups come from no address; reports have an extension header.
  program.at(sourceIsNone).byteIf(AT.ipv6Next, '==', ICMP6, icmp).byteIf(AT.ipv6Next, '!=', 0, program.drop)
  program.at(sourceIsOwn).byteIf(AT.ipv6Next, '==', ICMP6, icmp)
  program.byteIf(AT.ipv6HopLimit, '!=', ND_HOP_LIMIT, ok)
  // What cannot be looked into could be neighbour discovery.
  for (const header of EXTENSIONS) program.byteIf(AT.ipv6Next, '==', header, program.drop)
  program.code.jump(ok)

  program.at(icmp).copy(AT.icmp6Type + 1, program.drop)
  for (const type of [ND.routerAdvertisement, ND.redirect]) program.byteIf(AT.icmp6Type, '==', type, program.drop)
  program.byteIf(AT.icmp6Type, '==', ND.neighbourAdvertisement, advertisement)
  program.bytesIf(AT.ipv6Source, '!=', UNSPECIFIED.ipv6, ok)
  program.byteIf(AT.icmp6Type, '==', ND.neighbourSolicitation, ok)
  program.code.jump(program.drop)

  program.at(advertisement).copy(AT.icmp6Target + 16, program.drop)
  for (const address of own) program.bytesIf(AT.icmp6Target, '==', address, ok)
  program.code.jump(program.drop)
}
