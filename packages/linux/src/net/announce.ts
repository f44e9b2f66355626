import { close, writeSync } from 'node:fs'
import type { VfVlan } from '@cni-offload/sdk'
import type { Libc } from '../native/libc.ts'
import { type BinaryAddress, parseIp, parseMac } from '../netlink/address.ts'
import { AF } from '../netlink/constants.ts'
import { linkByName } from '../netlink/link.ts'
import { NetFailure } from './failure.ts'
import type { NetOp } from './model.ts'
import type { NetSession } from './session.ts'

const SOCK_RAW = 3
const BROADCAST = Buffer.alloc(6, 0xff)
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex')
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex')
const ETHERTYPE_ARP = Buffer.from('0806', 'hex')
const ETHERTYPE_RARP = Buffer.from('8035', 'hex')
const REVERSE_REQUEST = 3
const ETHERTYPE_IPV6 = Buffer.from('86dd', 'hex')
// Ethernet, IPv4, six-byte and four-byte addresses, request.
const ARP_REQUEST = Buffer.from('0001080006040001', 'hex')
const ICMPV6 = 58
const NEIGHBOUR_ADVERTISEMENT = 136
const OVERRIDE = 0x2000_0000
const TARGET_LINK_ADDRESS = Buffer.from([2, 1])

/** Internet checksum (RFC 1071) of data with an even number of bytes. */
export function internetChecksum(data: Buffer): number {
  let sum = 0
  for (let at = 0; at + 1 < data.length; at += 2) sum += data.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** A gratuitous ARP request: "who has my address? I do". */
export function gratuitousArp(mac: Buffer, address: Buffer): Buffer {
  return Buffer.concat([BROADCAST, mac, ETHERTYPE_ARP, ARP_REQUEST, mac, address, Buffer.alloc(6), address])
}

/** An unsolicited neighbour advertisement to all nodes that replaces what they had cached. */
export function unsolicitedAdvertisement(mac: Buffer, address: Buffer): Buffer {
  const icmp = Buffer.concat([Buffer.from([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0]), Buffer.alloc(4), address, TARGET_LINK_ADDRESS, mac])
  icmp.writeUInt32BE(OVERRIDE, 4)
  const lengthAndNext = Buffer.from([0, 0, 0, icmp.length, 0, 0, 0, ICMPV6])
  icmp.writeUInt16BE(internetChecksum(Buffer.concat([address, ALL_NODES, lengthAndNext, icmp])), 2)
  const header = Buffer.from([0x60, 0, 0, 0, 0, icmp.length, ICMPV6, 255])
  return Buffer.concat([ALL_NODES_MAC, mac, ETHERTYPE_IPV6, header, address, ALL_NODES, icmp])
}

/** A reverse ARP request, which nobody answers: it only shows where a MAC address is. */
export function reverseArp(mac: Buffer): Buffer {
  const request = Buffer.concat([ARP_REQUEST.subarray(0, 6), Buffer.from([0, REVERSE_REQUEST]), mac, Buffer.alloc(4), mac, Buffer.alloc(4)])
  return Buffer.concat([BROADCAST, mac, ETHERTYPE_RARP, request])
}

/** A frame with the tag of a VLAN. */
export function tagged(frame: Buffer, { id, qos, protocol }: VfVlan): Buffer {
  const tag = Buffer.alloc(4)
  tag.writeUInt16BE(protocol === '802.1q' ? 0x8100 : 0x88a8, 0)
  tag.writeUInt16BE((qos << 13) | id, 2)
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)])
}

/** The frame that makes neighbours send an address's packets to this MAC address. */
export function announcement(mac: Buffer, { family, bytes }: BinaryAddress): Buffer {
  return family === AF.INET ? gratuitousArp(mac, bytes) : unsolicitedAdvertisement(mac, bytes)
}

const linkLayerAddress = (index: number): Buffer => {
  const address = Buffer.alloc(20)
  address.writeUInt16LE(AF.PACKET, 0)
  address.writeInt32LE(index, 4)
  return address
}

/** `announce`: one frame per address; a prefix length is ignored. @throws NetFailure NOT_FOUND without such a device */
export function announce(libc: Libc, session: NetSession, dev: string, addresses: readonly string[]): void {
  const link = linkByName(session.socket, dev)
  if (link === undefined) throw new NetFailure('NOT_FOUND', `there is no device ${dev} (ENODEV)`)
  const mac = parseMac(link.mac)
  const frames = addresses.map((address) => announcement(mac, parseIp(address.replace(/\/\d+$/, ''))))
  send(libc, session, link.index, frames)
}

/** `announce.for`. @throws NetFailure NOT_FOUND without such a device */
export function announceFor(libc: Libc, session: NetSession, { dev, mac, vlan, addresses }: Extract<NetOp, { op: 'announce.for' }>): void {
  const own = parseMac(mac)
  const frames = addresses.map((address) => announcement(own, parseIp(address.replace(/\/\d+$/, ''))))
  const shown = frames.length === 0 ? [reverseArp(own)] : frames
  const sent = vlan === undefined ? shown : shown.map((frame) => tagged(frame, vlan))
  send(libc, session, session.index(dev), sent)
}

/** `frame.send`: one frame as it stands. @throws NetFailure NOT_FOUND without such a device */
export function sendFrame(libc: Libc, session: NetSession, dev: string, frame: Uint8Array): void {
  send(libc, session, session.index(dev), [frame])
}

function send(libc: Libc, session: NetSession, index: number, frames: readonly Uint8Array[]): void {
  if (frames.length === 0) return
  // Protocol 0: this socket never receives, so opening it does not wait for RCU.
  const fd = session.inside(() => libc.socket(AF.PACKET, SOCK_RAW, 0))
  try {
    libc.bind(fd, linkLayerAddress(index))
    for (const frame of frames) writeSync(fd, frame)
  } finally {
    // Closing a packet socket waits for an RCU grace period; a pool thread does that for us.
    close(fd, () => undefined)
  }
}
