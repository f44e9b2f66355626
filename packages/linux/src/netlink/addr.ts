import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import { type Family, formatIp, parseCidr, withHostBits } from './address.ts'
import { attribute, readAttributes, uint32 } from './codec.ts'
import { AF, IFA, NLM_F, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const IFA_F_NODAD = 0x02
const IFA_F_DADFAILED = 0x08
const IFA_F_TENTATIVE = 0x40
const IFA_F_NOPREFIXROUTE = 0x200
const HEADER = 8

interface AddressEntry {
  readonly family: Family
  readonly prefix: number
  /** The lower eight flags. */
  readonly flags: number
  readonly local: Buffer
  readonly peer: Buffer
}

const header = (family: number, prefix: number, flags: number, index: number): Buffer => {
  const data = Buffer.from([family, prefix, flags, 0, 0, 0, 0, 0])
  data.writeUInt32LE(index, 4)
  return data
}

/**
 * Adds an address; IPv4 ones get the broadcast address of their prefix, IPv6 ones skip duplicate address detection.
 *
 * @param prefixRoute - whether the kernel is to make the on-link route to the address's prefix
 * @throws Refusal
 */
export function addAddress(socket: NetlinkSocket, index: number, cidr: string, prefixRoute: boolean): void {
  const { family, bytes, prefix } = parseCidr(cidr)
  const attributes = [attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)]
  if (family === AF.INET && prefix < 31) attributes.push(attribute(IFA.BROADCAST, withHostBits(bytes, prefix, 1)))
  const flags = family === AF.INET6 ? IFA_F_NODAD : 0
  // The header has room for eight flags only, and where this attribute is, it counts.
  if (!prefixRoute) attributes.push(attribute(IFA.FLAGS, uint32(flags | IFA_F_NOPREFIXROUTE)))
  socket.change(RTM.NEWADDR, [header(family, prefix, flags, index), ...attributes], NLM_F.CREATE | NLM_F.EXCL)
}

const isLinkLocal = (entry: AddressEntry): boolean =>
  entry.family === AF.INET6 && entry.local[0] === 0xfe && ((entry.local[1] ?? 0) & 0xc0) === 0x80

/** Addresses of one family, of all links if `index` is 0. */
const entriesOf = (socket: NetlinkSocket, family: Family, index: number): AddressEntry[] =>
  socket.dump(RTM.GETADDR, [header(family, 0, 0, index)]).flatMap(({ payload }) => {
    if (payload[0] !== family || (index !== 0 && payload.readUInt32LE(4) !== index)) return []
    const attributes = readAttributes(payload.subarray(HEADER))
    const peer = attributes.get(IFA.ADDRESS)
    const local = attributes.get(IFA.LOCAL) ?? peer
    if (local === undefined || peer === undefined) return []
    return [{ family, prefix: payload.readUInt8(1), flags: payload.readUInt8(2), local, peer }]
  })

const entries = (socket: NetlinkSocket, index: number): AddressEntry[] =>
  ([AF.INET, AF.INET6] as const).flatMap((family) => entriesOf(socket, family, index))

/** Addresses of a link with prefix length, IPv6 link-local ones only if asked for. @throws Refusal */
export function listAddresses(socket: NetlinkSocket, index: number, linkLocal = false): string[] {
  return entries(socket, index)
    .filter((entry) => linkLocal || !isLinkLocal(entry))
    .map((entry) => `${formatIp(entry.local)}/${entry.prefix}`)
}

/** IPv6 addresses, of one link or of all, whose duplicate address detection has not ended. @throws Refusal */
export function listTentative(socket: NetlinkSocket, index: number | undefined): string[] {
  return entriesOf(socket, AF.INET6, index ?? 0)
    .filter(({ flags }) => (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) === IFA_F_TENTATIVE)
    .map(({ local, prefix }) => `${formatIp(local)}/${prefix}`)
}

/** Removes one address of a link, also an IPv6 link-local one; absent is success. @throws Refusal */
export function removeAddress(socket: NetlinkSocket, index: number, cidr: string): void {
  const { family, bytes, prefix } = parseCidr(cidr)
  try {
    socket.change(RTM.DELADDR, [header(family, prefix, 0, index), attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)])
  } catch (error) {
    if (errnoOf(error) !== constants.errno.EADDRNOTAVAIL) throw error
  }
}

/** Removes all addresses of a link but IPv6 link-local ones. @throws Refusal */
export function flushAddresses(socket: NetlinkSocket, index: number): void {
  for (const entry of entries(socket, index)) {
    if (isLinkLocal(entry)) continue
    const attributes = [attribute(IFA.LOCAL, entry.local), attribute(IFA.ADDRESS, entry.peer)]
    try {
      socket.change(RTM.DELADDR, [header(entry.family, entry.prefix, 0, index), ...attributes])
    } catch (error) {
      // Secondary addresses go together with their primary one.
      if (errnoOf(error) !== constants.errno.EADDRNOTAVAIL) throw error
    }
  }
}
