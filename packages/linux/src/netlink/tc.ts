import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import { attribute, nested, readAttributes, readText, text } from './codec.ts'
import { NLM_F, RTM, TCA } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const INGRESS_PARENT = 0xffff_fff1
const INGRESS_HANDLE = 0xffff_0000
const ETH_P_ALL = 0x0003
const PRIORITY = 1
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

/**
 * Redirects every frame that a link receives to another link's egress. A match-all filter of ours that exists is changed in
 * place, so that no frame slips through meanwhile.
 *
 * @throws Refusal
 */
export function setRedirect(socket: NetlinkSocket, from: number, to: number): void {
  const existing = matchAllFilters(socket, from)
  if (existing[0]?.target === to) return
  const qdisc = [header(from, INGRESS_HANDLE, INGRESS_PARENT), attribute(TCA.KIND, text('ingress'))]
  socket.change(RTM.NEWQDISC, qdisc, NLM_F.CREATE)
  // Only a handle that was read is safe to name: tables of u32 are shared by all filters of the link.
  const handle = existing.find((filter) => filter.priority === PRIORITY)?.handle ?? 0
  const options = nested(TCA.OPTIONS, [attribute(TCA_U32.SEL, matchAll()), nested(TCA_U32.ACT, [mirred(to)])])
  const filter = [header(from, handle, INGRESS_HANDLE, FILTER_INFO), attribute(TCA.KIND, text('u32')), options]
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

interface MatchAllFilter {
  readonly handle: number
  readonly priority: number
  /** Index of the link to whose egress it redirects; undefined if it does something else or the target is gone. */
  readonly target: number | undefined
}

const empty = Buffer.alloc(0)

const mirredTarget = (actions: Buffer): number | undefined => {
  const action = readAttributes(readAttributes(actions).get(1) ?? empty)
  if (readText(action.get(TCA_ACT.KIND) ?? empty) !== 'mirred') return undefined
  const parameters = readAttributes(action.get(TCA_ACT.OPTIONS) ?? empty).get(TCA_MIRRED_PARMS)
  if (parameters === undefined || parameters.length < 28 || parameters.readInt32LE(20) !== TCA_EGRESS_REDIR) return undefined
  const index = parameters.readUInt32LE(24)
  // Zero: the target was removed or moved away, and the filter now swallows what it gets.
  return index === 0 ? undefined : index
}

/** u32 filters on the ingress of a link that take every frame of every protocol, in the order in which they are asked. */
const matchAllFilters = (socket: NetlinkSocket, index: number): MatchAllFilter[] =>
  socket.dump(RTM.GETTFILTER, [header(index, 0, INGRESS_HANDLE)]).flatMap(({ payload }) => {
    const filter = readAttributes(payload.subarray(HEADER))
    if (payload.readUInt16BE(16) !== ETH_P_ALL || readText(filter.get(TCA.KIND) ?? empty) !== 'u32') return []
    const chain = filter.get(TCA.CHAIN)?.readUInt32LE(0) ?? 0
    const options = readAttributes(filter.get(TCA.OPTIONS) ?? empty)
    if (chain !== 0 || !matchesAll(options.get(TCA_U32.SEL))) return []
    const target = mirredTarget(options.get(TCA_U32.ACT) ?? empty)
    return [{ handle: payload.readUInt32LE(8), priority: payload.readUInt16LE(18), target }]
  })

/** Index of the link that all frames received by a link go to; undefined if there is no live redirect. @throws Refusal */
export function redirectIndex(socket: NetlinkSocket, from: number): number | undefined {
  // Whatever the first one does, no later one sees a frame.
  return matchAllFilters(socket, from)[0]?.target
}
