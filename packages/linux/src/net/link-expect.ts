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
  const addresses = op.addresses === undefined ? [] : listAddresses(socket, link.index)
  const { mac, mtu, up, alias, traits } = op
  const wrong = [
    ...differences({ mac, mtu, up, alias }, { ...link }),
    ...differences({ ...traits }, { ...link.traits }),
    ...(op.altNames === undefined || link.altNames.length === 0
      ? []
      : [`it has ${link.altNames.length} alternative names, one is ${JSON.stringify(link.altNames[0])}`]),
    ...(addresses.length === 0 ? [] : [`it has the addresses ${addresses.join(', ')}`]),
  ]
  if (wrong.length > 0) throw new NetFailure('CHECK_FAILED', wrong.join('; '))
}

function differences(wanted: Readonly<Record<string, unknown>>, found: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(wanted).flatMap(([field, value]) =>
    value === undefined || value === found[field] ? [] : [`${field} is ${JSON.stringify(found[field])}, not ${JSON.stringify(value)}`],
  )
}
