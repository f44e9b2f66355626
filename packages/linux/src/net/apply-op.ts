import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import type { BpfLoader } from '../native/bpf.ts'
import type { Libc } from '../native/libc.ts'
import { addAddress, flushAddresses, removeAddress } from '../netlink/addr.ts'
import { removeForwarding, setBridgePort, setForwarding } from '../netlink/bridge-port.ts'
import { linkIndex } from '../netlink/link.ts'
import { removeNeighbour, setNeighbour } from '../netlink/neigh.ts'
import { setProgram } from '../netlink/programs.ts'
import { addRoute, removeRoute } from '../netlink/route.ts'
import { clearIngress, setRedirect } from '../netlink/tc.ts'
import { setVf } from '../netlink/vf.ts'
import { announce, announceFor, sendFrame } from './announce.ts'
import { failureOf } from './failure.ts'
import { linkExpect } from './link-expect.ts'
import { linkAddBridge, linkAddVeth, linkDel, linkMove, linkSet, type OpenSession } from './link-ops.ts'
import type { NetOp } from './model.ts'
import type { NetSession } from './session.ts'
import { writeSysctl } from './sysctl.ts'

/** System calls that ops need. */
export interface Natives {
  readonly libc: Libc
  /** Loaded when the first program is. */
  readonly bpf: () => BpfLoader
}

const subjectOf = (op: NetOp): string => {
  if (op.op === 'sysctl') return `${op.key}=${op.value}`
  if (op.op === 'redirect.set') return `${op.from} to ${op.to}`
  if (op.op === 'link.move') return `${op.dev} to ${op.netns} as ${op.name}`
  if (op.op === 'route.add' || op.op === 'route.del')
    return `${op.dev} ${op.route.dst}${op.route.gw === undefined ? '' : ` via ${op.route.gw}`}`
  if (op.op === 'program.set') return `${op.dev} ${op.hook} ${op.name}`
  if (op.op === 'forward.set' || op.op === 'forward.del') return `${op.dev} ${op.mac}`
  if (op.op === 'vf.set') return `VF ${op.vf} of ${op.dev}`
  if (op.op === 'addr.add' || op.op === 'addr.del') return `${op.dev} ${op.address}`
  return op.dev
}

const ingressClear = (session: NetSession, dev: string): void => {
  const index = linkIndex(session.socket, dev)
  if (index !== undefined) clearIngress(session.socket, index)
}

const routeAdd = (session: NetSession, { dev, route, existsOk }: Extract<NetOp, { op: 'route.add' }>): void => {
  const index = session.index(dev)
  try {
    addRoute(session.socket, index, route)
  } catch (error) {
    if (existsOk !== true || errnoOf(error) !== constants.errno.EEXIST) throw error
  }
}

const perform = ({ libc, bpf }: Natives, session: NetSession, op: NetOp, open: OpenSession): void => {
  switch (op.op) {
    case 'link.set':
      return linkSet(session, op)
    case 'link.expect':
      return linkExpect(session, op, open)
    case 'link.add-veth':
      return linkAddVeth(session, op, open)
    case 'link.add-bridge':
      return linkAddBridge(session, op)
    case 'link.del':
      return linkDel(session, op)
    case 'link.move':
      return linkMove(session, op, open)
    case 'addr.add':
      return addAddress(session.socket, session.index(op.dev), op.address, op.prefixRoute ?? true)
    case 'addr.del':
      return removeAddress(session.socket, session.index(op.dev), op.address)
    case 'addr.flush':
      return flushAddresses(session.socket, session.index(op.dev))
    case 'route.add':
      return routeAdd(session, op)
    case 'route.del':
      return removeRoute(session.socket, session.index(op.dev), op.route)
    case 'neigh.del':
      return removeNeighbour(session.socket, session.index(op.dev), op.ip)
    case 'neigh.add':
      return setNeighbour(session.socket, session.index(op.dev), op.ip, op.mac)
    case 'sysctl':
      return writeSysctl(session, op.key, op.value)
    case 'redirect.set':
      return setRedirect(session.socket, session.index(op.from), session.index(op.to))
    case 'redirect.clear':
    case 'program.clear':
      return ingressClear(session, op.dev)
    case 'program.set':
      return setProgram(session.socket, bpf(), { index: session.index(op.dev), hook: op.hook, name: op.name }, op.program)
    case 'bridge.port':
      return setBridgePort(session.socket, session.index(op.dev), op.port)
    case 'forward.set':
      return setForwarding(session.socket, session.index(op.dev), op.mac)
    case 'forward.del':
      return removeForwarding(session.socket, session.index(op.dev), op.mac)
    case 'vf.set':
      return setVf(session.socket, session.index(op.dev), op.vf, op.settings)
    case 'announce':
      return announce(libc, session, op.dev, op.addresses)
    case 'announce.for':
      return announceFor(libc, session, op)
    case 'frame.send':
      return sendFrame(libc, session, op.dev, op.frame)
  }
}

/** Applies one op. @throws NetFailure that names op, subject, namespace and errno */
export function applyOp(natives: Natives, session: NetSession, op: NetOp, open: OpenSession): void {
  const attempted = `${op.op} in ${session.path}: ${subjectOf(op)}`
  try {
    perform(natives, session, op, open)
  } catch (error) {
    throw failureOf(error, attempted)
  }
}
