import { constants } from 'node:os'
import { Refusal } from '../native/errno.ts'
import type { Link, LinkTraits } from '../net/model.ts'
import { formatMac, parseMac } from './address.ts'
import { readBridgePort } from './bridge-port.ts'
import { attribute, nested, readAttributes, readText, text, uint32 } from './codec.ts'
import { IFF, IFLA, IFLA_INFO, NLM_F, RTM } from './constants.ts'
import { readAltNames, readTraits, traitAttributes, traitFlags } from './link-traits.ts'
import type { NetlinkSocket } from './socket.ts'

const VETH_INFO_PEER = 1
const IFLA_BR_MCAST_SNOOPING = 23
const RTEXT_FILTER_BRVLAN = 2
const RTEXT_FILTER_SKIP_STATS = 8
const MAX_NAME_BYTES = 15
const MAX_ALIAS_BYTES = 255

/** What can be set on a link; fields absent are not touched. */
export interface LinkSettings {
  readonly name?: string
  readonly mac?: string
  readonly mtu?: number
  readonly up?: boolean
  readonly alias?: string
  /** Index of the new master, 0 for none. */
  readonly master?: number
  /** Open descriptor of the namespace to move to. */
  readonly netns?: number
  /** Traits to set; those absent are not touched. */
  readonly traits?: Partial<LinkTraits>
}

/**
 * Data of a name attribute.
 *
 * @throws Refusal EINVAL if no interface can have that name; `%` is refused because the kernel would fill in a number
 */
export function interfaceName(name: string): Buffer {
  if (!/^[^\s/:%\0]+$/.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new Refusal(constants.errno.EINVAL, `${JSON.stringify(name)} is no interface name`)
  }
  return text(name)
}

const header = (index: number, flags = 0, change = 0): Buffer => {
  const data = Buffer.alloc(16)
  data.writeInt32LE(index, 4)
  data.writeUInt32LE(flags, 8)
  data.writeUInt32LE(change, 12)
  return data
}

const settingAttributes = (settings: LinkSettings): Buffer[] => {
  const attributes: Buffer[] = []
  if (settings.netns !== undefined) attributes.push(attribute(IFLA.NET_NS_FD, uint32(settings.netns)))
  if (settings.name !== undefined) attributes.push(attribute(IFLA.IFNAME, interfaceName(settings.name)))
  if (settings.mac !== undefined) attributes.push(attribute(IFLA.ADDRESS, parseMac(settings.mac)))
  if (settings.mtu !== undefined) attributes.push(attribute(IFLA.MTU, uint32(settings.mtu)))
  if (settings.master !== undefined) attributes.push(attribute(IFLA.MASTER, uint32(settings.master)))
  if (settings.alias !== undefined) attributes.push(attribute(IFLA.IFALIAS, aliasBytes(settings.alias)))
  if (settings.traits !== undefined) attributes.push(...traitAttributes(settings.traits))
  return attributes
}

const aliasBytes = (alias: string): Buffer => {
  const bytes = Buffer.from(alias)
  if (bytes.length > MAX_ALIAS_BYTES || bytes.includes(0)) {
    throw new Refusal(constants.errno.EINVAL, `alias of ${bytes.length} bytes; at most ${MAX_ALIAS_BYTES} without NUL are possible`)
  }
  return bytes
}

/** Reads one link out of an RTM_NEWLINK payload. */
export function decodeLink(payload: Buffer): Link {
  const flags = payload.readUInt32LE(8)
  const attributes = readAttributes(payload.subarray(16))
  const info = attributes.get(IFLA.LINKINFO)
  const infos = info === undefined ? new Map<number, Buffer>() : readAttributes(info)
  const kind = infos.get(IFLA_INFO.KIND)
  const bridgePort = readBridgePort(infos)
  const alias = attributes.get(IFLA.IFALIAS)
  const master = attributes.get(IFLA.MASTER)?.readUInt32LE(0)
  const maxMtu = attributes.get(IFLA.MAX_MTU)?.readUInt32LE(0) ?? 0
  const parent = readParent(attributes)
  const peer = attributes.get(IFLA.LINK)?.readInt32LE(0)
  const stats = attributes.get(IFLA.STATS64)
  const counter = (offset: number): bigint => stats?.readBigUInt64LE(offset) ?? 0n
  return {
    index: payload.readInt32LE(4),
    name: readText(attributes.get(IFLA.IFNAME) ?? Buffer.alloc(0)),
    mac: formatMac(attributes.get(IFLA.ADDRESS) ?? Buffer.alloc(0)),
    mtu: attributes.get(IFLA.MTU)?.readUInt32LE(0) ?? 0,
    up: (flags & IFF.UP) !== 0,
    carrier: (flags & IFF.LOWER_UP) !== 0,
    alias: alias === undefined ? '' : readText(alias),
    kind: kind === undefined ? '' : readText(kind),
    traits: readTraits(flags, attributes),
    altNames: readAltNames(attributes),
    ...(master === undefined ? {} : { master }),
    ...(bridgePort === undefined ? {} : { bridgePort }),
    ...(maxMtu === 0 ? {} : { maxMtu }),
    ...(parent === undefined ? {} : { parent }),
    ...(peer === undefined ? {} : { peer }),
    stats: { rxPackets: counter(0), txPackets: counter(8), rxBytes: counter(16), txBytes: counter(24) },
  }
}

const readParent = (attributes: ReadonlyMap<number, Buffer>): Link['parent'] => {
  const [bus, name] = [attributes.get(IFLA.PARENT_DEV_BUS_NAME), attributes.get(IFLA.PARENT_DEV_NAME)]
  return bus === undefined || name === undefined ? undefined : { bus: readText(bus), name: readText(name) }
}

/** All links. @throws Refusal */
export function dumpLinks(socket: NetlinkSocket): Link[] {
  return (
    socket
      // Any filter makes the kernel allot the space of its largest link. Else a link with many alternative names does not fit,
      // and the dump ends before it without an error. This one concerns only dumps of bridges.
      .dump(RTM.GETLINK, [header(0), attribute(IFLA.EXT_MASK, uint32(RTEXT_FILTER_BRVLAN))])
      .filter((entry) => entry.type === RTM.NEWLINK)
      .map((entry) => decodeLink(entry.payload))
  )
}

const getLink = (socket: NetlinkSocket, parts: readonly Uint8Array[]): Link | undefined => {
  try {
    return decodeLink(socket.get(RTM.GETLINK, parts))
  } catch (error) {
    if (error instanceof Refusal && error.errno === constants.errno.ENODEV) return undefined
    throw error
  }
}

/** One link by its name, or by an alternative name of it. @throws Refusal */
export function linkByName(socket: NetlinkSocket, name: string): Link | undefined {
  return getLink(socket, [header(0), attribute(IFLA.IFNAME, interfaceName(name))])
}

/** One link by index, without counters. @throws Refusal */
export function linkByIndex(socket: NetlinkSocket, index: number): Link | undefined {
  return getLink(socket, [header(index), attribute(IFLA.EXT_MASK, uint32(RTEXT_FILTER_SKIP_STATS))])
}

/** Index of a link, undefined if absent. @throws Refusal */
export function linkIndex(socket: NetlinkSocket, name: string): number | undefined {
  const attributes = [attribute(IFLA.IFNAME, interfaceName(name)), attribute(IFLA.EXT_MASK, uint32(RTEXT_FILTER_SKIP_STATS))]
  return getLink(socket, [header(0), ...attributes])?.index
}

/** Changes a link in one kernel operation. @throws Refusal */
export function setLink(socket: NetlinkSocket, index: number, settings: LinkSettings): void {
  const traits = traitFlags(settings.traits ?? {})
  const change = traits.change | (settings.up === undefined ? 0 : IFF.UP)
  const flags = traits.flags | (settings.up === true ? IFF.UP : 0)
  socket.change(RTM.NEWLINK, [header(index, flags, change), ...settingAttributes(settings)])
}

/**
 * Removes all alternative names of a link.
 *
 * @returns whether there were any
 * @throws Refusal
 */
export function removeAltNames(socket: NetlinkSocket, index: number): boolean {
  const payload = socket.get(RTM.GETLINK, [header(index), attribute(IFLA.EXT_MASK, uint32(RTEXT_FILTER_SKIP_STATS))])
  // The kernel's own list goes back as it is: a name may be of bytes that no text can hold.
  const list = readAttributes(payload.subarray(16)).get(IFLA.PROP_LIST)
  if (list === undefined) return false
  socket.change(RTM.DELLINKPROP, [header(index), nested(IFLA.PROP_LIST, [list])])
  return true
}

/** Makes a pair of veth links. @throws Refusal */
export function addVeth(socket: NetlinkSocket, link: LinkSettings, peer: LinkSettings): void {
  const data = nested(IFLA_INFO.DATA, [attribute(VETH_INFO_PEER, Buffer.concat([header(0), ...settingAttributes(peer)]))])
  addLink(socket, 'veth', link, [data])
}

/** Makes a bridge. @param snooping - whether it looks who wants which multicast @throws Refusal */
export function addBridge(socket: NetlinkSocket, link: LinkSettings, snooping = true): void {
  addLink(socket, 'bridge', link, snooping ? [] : [nested(IFLA_INFO.DATA, [attribute(IFLA_BR_MCAST_SNOOPING, Buffer.of(0))])])
}

const addLink = (socket: NetlinkSocket, kind: string, link: LinkSettings, data: readonly Buffer[]): void => {
  const info = nested(IFLA.LINKINFO, [attribute(IFLA_INFO.KIND, text(kind)), ...data])
  socket.change(RTM.NEWLINK, [header(0), ...settingAttributes(link), info], NLM_F.CREATE | NLM_F.EXCL)
}

/** Removes a link. @throws Refusal */
export function deleteLink(socket: NetlinkSocket, index: number): void {
  socket.change(RTM.DELLINK, [header(index)])
}
