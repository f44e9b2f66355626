import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import type { Libc } from '../native/libc.ts'
import { addAddress, flushAddresses, removeAddress } from '../netlink/addr.ts'
import { linkIndex } from '../netlink/link.ts'
import { removeNeighbour, setNeighbour } from '../netlink/neigh.ts'
import { addRoute, removeRoute } from '../netlink/route.ts'
import { clearIngress, setRedirect } from '../netlink/tc.ts'
import { setVf } from '../netlink/vf.ts'
import { announce } from './announce.ts'
import { failureOf } from './failure.ts'
import { linkExpect } from './link-expect.ts'
import { linkAddBridge, linkAddVeth, linkDel, linkMove, linkSet, type OpenSession } from './link-ops.ts'
import type { NetOp } from './model.ts'
import type { NetSession } from './session.ts'
import { writeSysctl } from './sysctl.ts'

const subjectOf = (op: NetOp): string => {
  if (op.op === 'sysctl') return `${op.key}=${op.value}`
  if (op.op === 'redirect.set') return `${op.from} to ${op.to}`
  if (op.op === 'link.move') return `${op.dev} to ${op.netns} as ${op.name}`
  if (op.op === 'route.add' || op.op === 'route.del')
    return `${op.dev} ${op.route.dst}${op.route.gw === undefined ? '' : ` via ${op.route.gw}`}`
  if (op.op === 'vf.set') return `VF ${op.vf} of ${op.dev}`
  if (op.op === 'addr.add' || op.op === 'addr.del') return `${op.dev} ${op.address}`
  return op.dev
}

const redirectClear = (session: NetSession, dev: string): void => {
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

const perform = (libc: Libc, session: NetSession, op: NetOp, open: OpenSession): void => {
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
      return redirectClear(session, op.dev)
    case 'vf.set':
      return setVf(session.socket, session.index(op.dev), op.vf, op.settings)
    case 'announce':
      return announce(libc, session, op.dev, op.addresses)
  }
}

/** Applies one op. @throws NetFailure that names op, subject, namespace and errno */
export function applyOp(libc: Libc, session: NetSession, op: NetOp, open: OpenSession): void {
  const attempted = `${op.op} in ${session.path}: ${subjectOf(op)}`
  try {
    perform(libc, session, op, open)
  } catch (error) {
    throw failureOf(error, attempted)
  }
}
