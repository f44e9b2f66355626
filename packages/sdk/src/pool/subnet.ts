import { isIPv6 } from 'node:net'

/** A prefix whose addresses are handed out by their distance from its first address. */
export interface Subnet {
  /** As written. */
  readonly cidr: string
  /** Prefix length. */
  readonly length: number
  /** First address as a number. */
  readonly base: bigint
  /** Smallest offset that a host may have. */
  readonly first: number
  /** Largest offset that a host may have. */
  readonly last: number
}

/** More hosts than any node runs; keeps the offsets of a /64 within what SQLite and JavaScript count exactly. */
const LARGEST_OFFSET = 0xffff_fffe

/** Reads a subnet. The text is trusted: a schema has seen it. */
export function parseSubnet(cidr: string): Subnet {
  const [address = '', length = ''] = cidr.split('/')
  const hostBits = BigInt((isIPv6(address) ? 128 : 32) - Number(length))
  const hosts = (1n << hostBits) - 2n
  return {
    cidr,
    length: Number(length),
    base: (toNumber(address) >> hostBits) << hostBits,
    first: 1,
    last: hosts > LARGEST_OFFSET ? LARGEST_OFFSET : Number(hosts),
  }
}

/** The part of a subnet, from its start, that has `size` addresses besides the gateway's. */
export function firstPart(subnet: Subnet, gatewayOffset: number, size: number): Subnet {
  const last = gatewayOffset <= size + 1 ? size + 1 : size
  return { ...subnet, last: Math.min(subnet.last, last) }
}

/** The address at an offset, in its canonical form. */
export function addressAt(subnet: Subnet, offset: number): string {
  const value = subnet.base + BigInt(offset)
  if (!subnet.cidr.includes(':')) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16))
  return canonical(groups.join(':'))
}

/** The offset of an address; outside of `first`…`last` when no host may have it. */
export function offsetOf(subnet: Subnet, address: string): number {
  return Number(toNumber(address) - subnet.base)
}

/** Whether a host may have the address in this subnet. */
export function contains(subnet: Subnet, address: string): boolean {
  if (isIPv6(address) !== subnet.cidr.includes(':')) return false
  const offset = offsetOf(subnet, address)
  return offset >= subnet.first && offset <= subnet.last
}

/** Whether two subnets have an address in common. */
export function overlap(one: string, other: string): boolean {
  const [a, b] = [parseSubnet(one), parseSubnet(other)]
  const hostBits = BigInt((isIPv6(one.slice(0, one.indexOf('/'))) ? 128 : 32) - Math.min(a.length, b.length))
  return one.includes(':') === other.includes(':') && a.base >> hostBits === b.base >> hostBits
}

/** URLs know every way in which IPv6 addresses are written, and write them in one. */
const canonical = (address: string): string => new URL(`http://[${address}]`).hostname.slice(1, -1)

function toNumber(address: string): bigint {
  if (!isIPv6(address)) return address.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n)
  const [head = '', tail] = canonical(address).split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}
