import { constants } from 'node:os'
import type { Neighbour } from '@cni-offload/sdk'
import { errnoOf } from '../native/errno.ts'
import { formatIp, formatMac, parseIp, parseMac } from './address.ts'
import { attribute, readAttributes } from './codec.ts'
import { AF, NDA, NLM_F, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const NUD_PERMANENT = 0x80
const HEADER = 12

/** Sets a permanent neighbour entry, whatever was known of that address before. @throws Refusal */
export function setNeighbour(socket: NetlinkSocket, index: number, ip: string, mac: string): void {
  const { family, bytes } = parseIp(ip)
  const header = Buffer.alloc(HEADER)
  header.writeUInt8(family, 0)
  header.writeInt32LE(index, 4)
  header.writeUInt16LE(NUD_PERMANENT, 8)
  const attributes = [attribute(NDA.DST, bytes), attribute(NDA.LLADDR, parseMac(mac))]
  socket.change(RTM.NEWNEIGH, [header, ...attributes], NLM_F.CREATE | NLM_F.REPLACE)
}

/** Removes a neighbour entry; absent is success. @throws Refusal */
export function removeNeighbour(socket: NetlinkSocket, index: number, ip: string): void {
  const { family, bytes } = parseIp(ip)
  const header = Buffer.alloc(HEADER)
  header.writeUInt8(family, 0)
  header.writeInt32LE(index, 4)
  try {
    socket.change(RTM.DELNEIGH, [header, attribute(NDA.DST, bytes)])
  } catch (error) {
    if (errnoOf(error) !== constants.errno.ENOENT) throw error
  }
}

/** Permanent neighbour entries of a link, both families. @throws Refusal */
export function listNeighbours(socket: NetlinkSocket, index: number): Neighbour[] {
  return [AF.INET, AF.INET6].flatMap((family) => {
    const header = Buffer.alloc(HEADER)
    header.writeUInt8(family, 0)
    return socket.dump(RTM.GETNEIGH, [header]).flatMap(({ payload }) => {
      if (payload[0] !== family || payload.readInt32LE(4) !== index || (payload.readUInt16LE(8) & NUD_PERMANENT) === 0) return []
      const attributes = readAttributes(payload.subarray(HEADER))
      const [ip, mac] = [attributes.get(NDA.DST), attributes.get(NDA.LLADDR)]
      return ip === undefined || mac === undefined ? [] : [{ ip: formatIp(ip), mac: formatMac(mac) }]
    })
  })
}
