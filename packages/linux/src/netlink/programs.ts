import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import type { BpfProgram } from '../bpf/program.ts'
import type { BpfLoader } from '../native/bpf.ts'
import { errnoOf } from '../native/errno.ts'
import type { FrameProgram, Hook } from '../net/model.ts'
import { attribute, nested, readAttributes, readText, text, uint32 } from './codec.ts'
import { NLM_F, RTM, TCA } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'
import { clearIngress } from './tc.ts'

/** clsact takes the place of the ingress queue, and has one for egress, too. */
const CLSACT_PARENT = 0xffff_fff1
const CLSACT_HANDLE = 0xffff_0000
const HOOKS: Readonly<Record<Hook, number>> = { ingress: 0xffff_fff2, egress: 0xffff_fff3 }
const ETH_P_ALL = 0x0003
/** Nothing comes before the first priority. */
const PRIORITY = 1
const HANDLE = 1
const HEADER = 20
const TCA_BPF = { FD: 6, NAME: 7, FLAGS: 8 } as const
/** The program itself says what happens to a frame. */
const DIRECT_ACTION = 1
// The protocol is in network byte order within the lower half.
const FILTER_INFO = ((PRIORITY << 16) | (ETH_P_ALL << 8)) >>> 0

const header = (index: number, handle: number, parent: number, info = 0): Buffer => {
  const data = Buffer.alloc(HEADER)
  data.writeInt32LE(index, 4)
  data.writeUInt32LE(handle, 8)
  data.writeUInt32LE(parent, 12)
  data.writeUInt32LE(info, 16)
  return data
}

/** Has all frames of a hook pass a program, in the place of the one before: no frame comes past both. @throws Refusal */
export function setProgram(
  socket: NetlinkSocket,
  loader: BpfLoader,
  at: { index: number; hook: Hook; name: string },
  program: BpfProgram,
): void {
  const descriptor = loader.load(program)
  try {
    ensureClsact(socket, at.index)
    const options = [
      attribute(TCA_BPF.FD, uint32(descriptor)),
      attribute(TCA_BPF.NAME, text(at.name)),
      attribute(TCA_BPF.FLAGS, uint32(DIRECT_ACTION)),
    ]
    const filter = [header(at.index, HANDLE, HOOKS[at.hook], FILTER_INFO), attribute(TCA.KIND, text('bpf')), nested(TCA.OPTIONS, options)]
    socket.change(RTM.NEWTFILTER, filter, NLM_F.CREATE | NLM_F.REPLACE)
  } finally {
    // The filter holds the program.
    closeSync(descriptor)
  }
}

function ensureClsact(socket: NetlinkSocket, index: number): void {
  const qdisc = [header(index, CLSACT_HANDLE, CLSACT_PARENT), attribute(TCA.KIND, text('clsact'))]
  try {
    socket.change(RTM.NEWQDISC, qdisc, NLM_F.CREATE)
  } catch (error) {
    // An ingress queue is in its place; what it did is over.
    if (errnoOf(error) !== constants.errno.EINVAL && errnoOf(error) !== constants.errno.EEXIST) throw error
    clearIngress(socket, index)
    socket.change(RTM.NEWQDISC, qdisc, NLM_F.CREATE)
  }
}

/** The filters of both hooks, in the order in which they are asked; none of a link that has no hooks. @throws Refusal */
export function listPrograms(socket: NetlinkSocket, index: number): FrameProgram[] {
  return (['ingress', 'egress'] as const).flatMap((hook) => filtersOf(socket, index, hook))
}

function filtersOf(socket: NetlinkSocket, index: number, hook: Hook): FrameProgram[] {
  return socket.dump(RTM.GETTFILTER, [header(index, 0, HOOKS[hook])]).flatMap(({ payload }) => {
    const filter = readAttributes(payload.subarray(HEADER))
    const options = filter.get(TCA.OPTIONS)
    // Each list begins with an entry for the list itself.
    if (options === undefined || payload.readUInt32LE(8) === 0) return []
    const kind = readText(filter.get(TCA.KIND) ?? Buffer.alloc(0))
    const bpf = readAttributes(options)
    const direct = kind === 'bpf' && ((bpf.get(TCA_BPF.FLAGS)?.readUInt32LE(0) ?? 0) & DIRECT_ACTION) !== 0
    return [{ hook, name: direct ? readText(bpf.get(TCA_BPF.NAME) ?? Buffer.alloc(0)) : '' }]
  })
}
