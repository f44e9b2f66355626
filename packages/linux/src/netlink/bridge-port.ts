import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import type { BridgePort } from '../net/model.ts'
import { formatMac, parseMac } from './address.ts'
import { attribute, nested, readAttributes, readText, text } from './codec.ts'
import { AF, IFLA, IFLA_INFO, NDA, NLM_F, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const KIND = 'bridge'
const IFLA_BRPORT = { learning: 8, flood: 9, isolated: 33 } as const
const NUD_REACHABLE = 0x02
const NUD_NOARP = 0x40
const NTF_MASTER = 0x04
const NEIGHBOUR_HEADER = 12

const settings = Object.entries(IFLA_BRPORT) as [keyof BridgePort, number][]

/** Sets what is given of a bridge's port. @throws Refusal, also if the link is in no bridge */
export function setBridgePort(socket: NetlinkSocket, index: number, port: Partial<BridgePort>): void {
  const data = settings.flatMap(([name, type]) => {
    const value = port[name]
    return value === undefined ? [] : [attribute(type, Buffer.of(value ? 1 : 0))]
  })
  const header = Buffer.alloc(16)
  header.writeInt32LE(index, 4)
  const info = [attribute(IFLA_INFO.SLAVE_KIND, text(KIND)), nested(IFLA_INFO.SLAVE_DATA, data)]
  socket.change(RTM.NEWLINK, [header, nested(IFLA.LINKINFO, info)])
}

/** What a link is as the port of a bridge, out of its IFLA_LINKINFO; undefined if it is none. */
export function readBridgePort(info: ReadonlyMap<number, Buffer>): BridgePort | undefined {
  const [kind, data] = [info.get(IFLA_INFO.SLAVE_KIND), info.get(IFLA_INFO.SLAVE_DATA)]
  if (kind === undefined || data === undefined || readText(kind) !== KIND) return undefined
  const found = readAttributes(data)
  const isOn = (type: number): boolean => found.get(type)?.[0] === 1
  return { learning: isOn(IFLA_BRPORT.learning), flood: isOn(IFLA_BRPORT.flood), isolated: isOn(IFLA_BRPORT.isolated) }
}

const neighbour = (index: number, state: number): Buffer => {
  const header = Buffer.alloc(NEIGHBOUR_HEADER)
  header.writeUInt8(AF.BRIDGE, 0)
  header.writeInt32LE(index, 4)
  header.writeUInt16LE(state, 8)
  header.writeUInt8(NTF_MASTER, 10)
  return header
}

/** Ties a MAC address to a bridge's port, wherever it was before; it is not learned elsewhere then. @throws Refusal */
export function setForwarding(socket: NetlinkSocket, index: number, mac: string): void {
  const parts = [neighbour(index, NUD_NOARP | NUD_REACHABLE), attribute(NDA.LLADDR, parseMac(mac))]
  socket.change(RTM.NEWNEIGH, parts, NLM_F.CREATE | NLM_F.REPLACE)
}

/** Unties a MAC address; absent is success. @throws Refusal */
export function removeForwarding(socket: NetlinkSocket, index: number, mac: string): void {
  try {
    socket.change(RTM.DELNEIGH, [neighbour(index, 0), attribute(NDA.LLADDR, parseMac(mac))])
  } catch (error) {
    if (errnoOf(error) !== constants.errno.ENOENT) throw error
  }
}

/** The MAC addresses that are tied to a bridge's port; the port's own and learned ones are none. @throws Refusal */
export function listForwarding(socket: NetlinkSocket, index: number): string[] {
  const header = Buffer.alloc(NEIGHBOUR_HEADER)
  header.writeUInt8(AF.BRIDGE, 0)
  header.writeInt32LE(index, 4)
  return socket.dump(RTM.GETNEIGH, [header]).flatMap(({ payload }) => {
    if (payload.readInt32LE(4) !== index || payload.readUInt16LE(8) !== NUD_NOARP) return []
    const attributes = readAttributes(payload.subarray(NEIGHBOUR_HEADER))
    const mac = attributes.get(NDA.LLADDR)
    // A device keeps lists of its own, in which no bridge looks.
    return mac === undefined || !attributes.has(NDA_MASTER) ? [] : [formatMac(mac)]
  })
}

const NDA_MASTER = 9
