import { ipBytes, macBytes } from '../../src/guard/addresses.ts'

const BROADCAST = 'ff:ff:ff:ff:ff:ff'

/** An Ethernet frame, filled up to its least length. */
export function ethernet(from: string, type: number, payload: Uint8Array, to: string = BROADCAST): Uint8Array {
  const frame = Buffer.concat([macBytes(to), macBytes(from), Buffer.from([type >> 8, type & 0xff]), payload])
  return Buffer.concat([frame, Buffer.alloc(Math.max(0, 60 - frame.length))])
}

/** The same frame with a tag. */
export function tagged(frame: Uint8Array, vlan: number, protocol = 0x8100): Uint8Array {
  const tag = Buffer.from([protocol >> 8, protocol & 0xff, vlan >> 8, vlan & 0xff])
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)])
}

/** An IPv4 packet of a protocol that nobody has. */
export function ipv4(from: string, source: string): Uint8Array {
  const start = Buffer.from([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0])
  const header = Buffer.concat([start, ipBytes(source), ipBytes('255.255.255.255')])
  let sum = 0
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at)
  // The kernel's bridge looks at the checksum where it asks the packet filters.
  header.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10)
  return ethernet(from, 0x0800, header)
}

/** What an ARP packet says of its sender. */
export function arp(from: string, senderMac: string, senderIp: string): Uint8Array {
  const header = Buffer.from([0, 1, 8, 0, 6, 4, 0, 1])
  return ethernet(from, 0x0806, Buffer.concat([header, macBytes(senderMac), ipBytes(senderIp), Buffer.alloc(6), ipBytes('10.9.0.200')]))
}

/** An IPv6 packet. */
export function ipv6(from: string, source: string, next: number, payload: Uint8Array, hopLimit = 64): Uint8Array {
  const header = Buffer.from([0x60, 0, 0, 0, 0, payload.length, next, hopLimit])
  return ethernet(from, 0x86dd, Buffer.concat([header, ipBytes(source), ipBytes('ff02::1'), payload]))
}

/** An ICMPv6 message about a target, as neighbour discovery has them. */
export function icmp6(from: string, source: string, type: number, target = '::'): Uint8Array {
  return ipv6(from, source, 58, Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]), ipBytes(target)]), 255)
}
