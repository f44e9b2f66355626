import { constants } from 'node:os'
import { errnoOf } from '../native/errno.ts'
import {
  addBridge,
  addVeth,
  deleteLink,
  linkByIndex,
  linkByName,
  linkIndex,
  type LinkSettings,
  removeAltNames,
  setLink,
} from '../netlink/link.ts'
import { NetFailure } from './failure.ts'
import type { NetnsPath, NetOp } from './model.ts'
import type { NetSession } from './session.ts'

type OpOf<Name extends NetOp['op']> = Extract<NetOp, { op: Name }>

/** Opens another namespace during an op. */
export type OpenSession = (path: NetnsPath) => NetSession

const masterIndex = (session: NetSession, master: string | null | undefined): { master?: number } => {
  if (master === undefined) return {}
  return { master: master === null ? 0 : session.index(master) }
}

const present = (settings: { [Key in keyof LinkSettings]: LinkSettings[Key] | undefined }): LinkSettings =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))

const MAC_HINT =
  'It must not be a multicast one. A VF takes no other than the one that its physical function has set (`ip link show PF`); 00:00:00:00:00:00 there lets it choose again.'

/** `link.set`. */
export function linkSet(session: NetSession, op: OpOf<'link.set'>): void {
  const { name, mac, mtu, up, alias, traits } = op
  const index = session.index(op.dev)
  if (op.altNames === false && removeAltNames(session.socket, index)) session.forget()
  try {
    setLink(session.socket, index, { ...present({ name, mac, mtu, up, alias, traits }), ...masterIndex(session, op.master) })
  } catch (error) {
    if (mac === undefined || errnoOf(error) !== constants.errno.EADDRNOTAVAIL) throw error
    throw new NetFailure('KERNEL_REFUSED', `its driver does not take mac = ${mac} (EADDRNOTAVAIL)`, MAC_HINT)
  }
  if (name !== undefined) session.forget()
}

/** `link.add-veth`: removes the pair again if its aliases cannot be set, which takes a second kernel operation. */
export function linkAddVeth(session: NetSession, op: OpOf<'link.add-veth'>, open: OpenSession): void {
  using peerSession = op.peer.netns === undefined ? undefined : open(op.peer.netns)
  const { dev, peer } = op
  const peerSettings = { name: peer.name, mac: peer.mac, mtu: peer.mtu, netns: peerSession?.netnsFd }
  addVeth(session.socket, present({ name: dev, mac: op.mac, mtu: op.mtu }), present(peerSettings))
  session.forget()
  try {
    const home = peerSession ?? session
    if (peer.alias !== undefined) setLink(home.socket, home.index(peer.name), { alias: peer.alias })
    // Last: whoever finds it after a crash knows that the pair is complete.
    if (op.alias !== undefined) setLink(session.socket, session.index(dev), { alias: op.alias })
  } catch (error) {
    deleteLink(session.socket, session.index(dev))
    throw error
  }
}

/** `link.add-bridge`: an MTU is set afterwards, or the kernel would replace it by that of the first port. */
export function linkAddBridge(session: NetSession, op: OpOf<'link.add-bridge'>): void {
  const { mac, mtu } = op
  addBridge(session.socket, present({ name: op.dev, mac }), op.multicastSnooping)
  session.forget()
  try {
    if (mtu !== undefined) setLink(session.socket, session.index(op.dev), { mtu })
  } catch (error) {
    deleteLink(session.socket, session.index(op.dev))
    throw error
  }
}

/** `link.del`. */
export function linkDel(session: NetSession, op: OpOf<'link.del'>): void {
  session.forget()
  const index = linkIndex(session.socket, op.dev)
  if (index === undefined) {
    if (op.absentOk === true) return
    throw new NetFailure('NOT_FOUND', `there is no device ${op.dev} (ENODEV)`)
  }
  try {
    deleteLink(session.socket, index)
  } catch (error) {
    if (op.absentOk !== true || errnoOf(error) !== constants.errno.ENODEV) throw error
  }
}

/** `link.move`. */
export function linkMove(session: NetSession, op: OpOf<'link.move'>, open: OpenSession): void {
  using target = open(op.netns)
  const index = session.index(op.dev)
  if (linkByName(target.socket, op.name) !== undefined) {
    throw new NetFailure('ALREADY_EXISTS', `a device ${op.name} exists there (EEXIST)`)
  }
  session.forget()
  moveOrStay(session, target, { index, from: op.dev, to: op.name })
}

/**
 * Moves and renames a link; if the new name turns out to be taken, the link is back under its old name when this throws.
 *
 * The kernel moves first and renames then: when the rename is refused, the device stays in the target with its old name.
 *
 * @throws NetFailure ALREADY_EXISTS
 * @throws Refusal whatever else the kernel has against the move
 */
export function moveOrStay(source: NetSession, target: NetSession, link: { index: number; from: string; to: string }): void {
  try {
    setLink(source.socket, link.index, { netns: target.netnsFd, name: link.to })
  } catch (error) {
    if (errnoOf(error) !== constants.errno.EEXIST) throw error
    if (linkByIndex(source.socket, link.index)?.name !== link.from) {
      setLink(target.socket, target.index(link.from), { netns: source.netnsFd, name: link.from })
    }
    throw new NetFailure('ALREADY_EXISTS', `a device ${link.to} exists there (EEXIST)`)
  }
}
