import { parseIp, parseMac } from './address.ts'
import { attribute } from './codec.ts'
import { NDA, NLM_F, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const NUD_PERMANENT = 0x80

/** Sets a permanent neighbour entry, whatever was known of that address before. @throws Refusal */
export function setNeighbour(socket: NetlinkSocket, index: number, ip: string, mac: string): void {
  const { family, bytes } = parseIp(ip)
  const header = Buffer.alloc(12)
  header.writeUInt8(family, 0)
  header.writeInt32LE(index, 4)
  header.writeUInt16LE(NUD_PERMANENT, 8)
  const attributes = [attribute(NDA.DST, bytes), attribute(NDA.LLADDR, parseMac(mac))]
  socket.request(RTM.NEWNEIGH, [header, ...attributes], NLM_F.CREATE | NLM_F.REPLACE)
}
