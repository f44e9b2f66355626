import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import { attribute, nested, readAttributes, readText, text } from './codec.ts'
import { NLM_F, RTM, TCA } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const INGRESS_PARENT = 0xffff_fff1
const INGRESS_HANDLE = 0xffff_0000
const ETH_P_ALL = 0x0003
const PRIORITY = 1
// First hash table of u32, bucket 0, first entry: a fixed handle makes a second request replace the first.
const FILTER_HANDLE = 0x8000_0800
const HEADER = 20

const TCA_U32 = { SEL: 5, ACT: 7 } as const
const TC_U32_TERMINAL = 1
const TCA_ACT = { KIND: 1, OPTIONS: 2 } as const
const TCA_MIRRED_PARMS = 2
const TCA_EGRESS_REDIR = 1
const TC_ACT_STOLEN = 4

const header = (index: number, handle: number, parent: number, info = 0): Buffer => {
  const data = Buffer.alloc(HEADER)
  data.writeInt32LE(index, 4)
  data.writeUInt32LE(handle, 8)
  data.writeUInt32LE(parent, 12)
  data.writeUInt32LE(info, 16)
  return data
}

// The protocol is in network byte order within the lower half.
const FILTER_INFO = ((PRIORITY << 16) | (ETH_P_ALL << 8)) >>> 0

/** A selector with one key that compares nothing: every frame matches. */
const matchAll = (): Buffer => {
  const selector = Buffer.alloc(16 + 16)
  selector.writeUInt8(TC_U32_TERMINAL, 0)
  selector.writeUInt8(1, 2)
  return selector
}

const mirred = (target: number): Buffer => {
  const parameters = Buffer.alloc(28)
  parameters.writeInt32LE(TC_ACT_STOLEN, 8)
  parameters.writeInt32LE(TCA_EGRESS_REDIR, 20)
  parameters.writeUInt32LE(target, 24)
  const options = nested(TCA_ACT.OPTIONS, [attribute(TCA_MIRRED_PARMS, parameters)])
  return nested(1, [attribute(TCA_ACT.KIND, text('mirred')), options])
}

/** Redirects every frame that a link receives to another link's egress; a redirect that exists is replaced. @throws Refusal */
export function setRedirect(socket: NetlinkSocket, from: number, to: number): void {
  if (redirectIndex(socket, from) === to) return
  const qdisc = [header(from, INGRESS_HANDLE, INGRESS_PARENT), attribute(TCA.KIND, text('ingress'))]
  socket.change(RTM.NEWQDISC, qdisc, NLM_F.CREATE)
  const options = nested(TCA.OPTIONS, [attribute(TCA_U32.SEL, matchAll()), nested(TCA_U32.ACT, [mirred(to)])])
  const filter = [header(from, FILTER_HANDLE, INGRESS_HANDLE, FILTER_INFO), attribute(TCA.KIND, text('u32')), options]
  socket.change(RTM.NEWTFILTER, filter, NLM_F.CREATE)
}

/** Removes the ingress qdisc of a link with all its filters; absent is success. @throws Refusal */
export function clearIngress(socket: NetlinkSocket, index: number): void {
  try {
    socket.change(RTM.DELQDISC, [header(index, INGRESS_HANDLE, INGRESS_PARENT)])
  } catch (error) {
    const errno = errnoOf(error)
    // The kernel says either, depending on whether the link ever had an ingress queue.
    if (errno !== constants.errno.ENOENT && errno !== constants.errno.EINVAL) throw error
  }
}

const matchesAll = (selector: Buffer | undefined): boolean => {
  if (selector === undefined || selector.length < 16) return false
  const keys = Array.from({ length: selector.readUInt8(2) }, (_, key) => 16 + key * 16)
  return keys.every((offset) => offset + 16 <= selector.length && selector.readUInt32LE(offset) === 0)
}

const targetOf = (payload: Buffer): number | undefined => {
  const filter = readAttributes(payload.subarray(HEADER))
  const protocol = payload.readUInt16BE(16)
  if (protocol !== ETH_P_ALL || readText(filter.get(TCA.KIND) ?? Buffer.alloc(0)) !== 'u32') return undefined
  const options = readAttributes(filter.get(TCA.OPTIONS) ?? Buffer.alloc(0))
  if (!matchesAll(options.get(TCA_U32.SEL))) return undefined
  const actions = readAttributes(options.get(TCA_U32.ACT) ?? Buffer.alloc(0))
  const action = readAttributes(actions.get(1) ?? Buffer.alloc(0))
  if (readText(action.get(TCA_ACT.KIND) ?? Buffer.alloc(0)) !== 'mirred') return undefined
  const parameters = readAttributes(action.get(TCA_ACT.OPTIONS) ?? Buffer.alloc(0)).get(TCA_MIRRED_PARMS)
  if (parameters === undefined || parameters.length < 28 || parameters.readInt32LE(20) !== TCA_EGRESS_REDIR) return undefined
  const index = parameters.readUInt32LE(24)
  // Zero: the target was removed or moved away, and the filter now swallows what it gets.
  return index === 0 ? undefined : index
}

/** Index of the link that all frames received by a link go to; undefined if there is no live redirect. @throws Refusal */
export function redirectIndex(socket: NetlinkSocket, from: number): number | undefined {
  for (const { payload } of socket.dump(RTM.GETTFILTER, [header(from, 0, INGRESS_HANDLE)])) {
    const target = targetOf(payload)
    if (target !== undefined) return target
  }
  return undefined
}
