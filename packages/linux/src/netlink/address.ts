import { isIPv4, isIPv6 } from 'node:net'
import { constants } from 'node:os'
import { Refusal } from '../native/errno.ts'
import { AF } from './constants.ts'

/** An address family as the kernel numbers it. */
export type Family = typeof AF.INET | typeof AF.INET6

/** An address in binary form. */
export interface BinaryAddress {
  readonly family: Family
  /** 4 or 16 bytes. */
  readonly bytes: Buffer
}

const invalid = (what: string): Refusal => new Refusal(constants.errno.EINVAL, what)

const groups = (half: string): number[] =>
  half === ''
    ? []
    : half.split(':').flatMap((part) => {
        if (!part.includes('.')) return [Number.parseInt(part, 16)]
        const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
        return [(a << 8) | b, (c << 8) | d]
      })

/** Parses an IPv4 or IPv6 address without zone. @throws Refusal EINVAL naming the text */
export function parseIp(address: string): BinaryAddress {
  if (isIPv4(address)) return { family: AF.INET, bytes: Buffer.from(address.split('.').map(Number)) }
  if (!isIPv6(address) || address.includes('%')) throw invalid(`${JSON.stringify(address)} is no IP address`)
  const [head = '', tail] = address.split('::')
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const words = [...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back]
  const bytes = Buffer.alloc(16)
  for (const [index, word] of words.entries()) bytes.writeUInt16BE(word, index * 2)
  return { family: AF.INET6, bytes }
}

/** Parses `address/length`. @throws Refusal EINVAL naming the text */
export function parseCidr(cidr: string): BinaryAddress & { readonly prefix: number } {
  const [address = '', length = '', ...rest] = cidr.split('/')
  const parsed = parseIp(address)
  const prefix = Number(length)
  if (rest.length > 0 || !/^\d{1,3}$/.test(length) || prefix > parsed.bytes.length * 8) {
    throw invalid(`${JSON.stringify(cidr)} is no address with prefix length`)
  }
  return { ...parsed, prefix }
}

/** A copy with all bits behind the prefix set to `bit`. */
export function withHostBits(bytes: Buffer, prefix: number, bit: 0 | 1): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => {
      const kept = Math.min(8, Math.max(0, prefix - index * 8))
      const hostMask = 0xff >> kept
      return bit === 0 ? byte & ~hostMask : byte | hostMask
    }),
  )
}

const longestZeroRun = (words: readonly number[]): { start: number; length: number } => {
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && words[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  return best
}

/** Text of an address of 4 or 16 bytes; IPv6 in the form of RFC 5952. */
export function formatIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.subarray(0, 10).every((byte) => byte === 0) && bytes.readUInt16BE(10) === 0xffff)
    return `::ffff:${bytes.subarray(12).join('.')}`
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2))
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':')
  const { start, length } = longestZeroRun(words)
  return start < 0 ? hex(words) : `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`
}

/** Parses a MAC address with colons. @throws Refusal EINVAL naming the text */
export function parseMac(mac: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) throw invalid(`${JSON.stringify(mac)} is no MAC address`)
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

/** Text of a MAC address, lower case with colons; empty if it does not have six bytes. */
export function formatMac(bytes: Buffer): string {
  return bytes.length === 6 ? Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':') : ''
}

/** An address in the text form that this package reports: RFC 5952 for IPv6, without zone. @throws Refusal EINVAL */
export function normalizeIp(address: string): string {
  return formatIp(parseIp(address).bytes)
}

/** Whether an address lies in a prefix; those of the other family never do. @throws Refusal EINVAL */
export function inPrefix(cidr: string, address: string): boolean {
  const { family, bytes, prefix } = parseCidr(cidr)
  const ip = parseIp(address)
  return ip.family === family && withHostBits(ip.bytes, prefix, 0).equals(withHostBits(bytes, prefix, 0))
}

/** An address with prefix length in the text form that this package reports. @throws Refusal EINVAL */
export function normalizeCidr(cidr: string): string {
  const { bytes, prefix } = parseCidr(cidr)
  return `${formatIp(bytes)}/${prefix}`
}
