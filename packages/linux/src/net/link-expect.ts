import { listAddresses } from '../netlink/addr.ts'
import { linkByName } from '../netlink/link.ts'
import { NetFailure } from './failure.ts'
import type { OpenSession } from './link-ops.ts'
import type { NetOp } from './model.ts'
import type { NetSession } from './session.ts'

type LinkExpect = Extract<NetOp, { op: 'link.expect' }>

/** Compares a link with what it should be. @throws NetFailure NOT_FOUND, CHECK_FAILED */
export function linkExpect(session: NetSession, op: LinkExpect, open: OpenSession): void {
  if (op.netns === undefined) return compare(session, op)
  using elsewhere = open(op.netns)
  compare(elsewhere, op)
}

function compare({ socket, path }: NetSession, op: LinkExpect): void {
  const link = linkByName(socket, op.dev)
  if (link === undefined) throw new NetFailure('NOT_FOUND', `there is no device ${op.dev} in ${path}`)
  const found = { ...link, addresses: op.addresses === undefined ? [] : listAddresses(socket, link.index) }
  const wrong = [
    ...(['mac', 'mtu', 'up', 'alias'] as const).flatMap((field) =>
      op[field] === undefined || op[field] === found[field]
        ? []
        : [`${field} is ${JSON.stringify(found[field])}, not ${JSON.stringify(op[field])}`],
    ),
    ...(found.addresses.length === 0 ? [] : [`it has the addresses ${found.addresses.join(', ')}`]),
  ]
  if (wrong.length > 0) throw new NetFailure('CHECK_FAILED', wrong.join('; '))
}
