import { isDeepStrictEqual } from 'node:util'
import { hasPrefixRoute, type NetOp, normalizeIp, routesToMake } from '@cni-offload/linux'
import { askedVfSettings, type AttachResult, type Neighbour, type Route, VF_ADMIN_FIELDS } from '@cni-offload/sdk'
import { sameRoute, shownRoute } from '../wiring/compare.ts'
import { firstOfIpv6, IPV6_MIN_MTU } from '../wiring/fit.ts'

/** How a pod follows a network that was changed under it. */
export interface Update {
  /** What changed, as readable phrases; empty where the pod does not see it. */
  readonly changes: readonly string[]
  /** What has to be done in the pod's namespace, in order. Doing it again does no harm. */
  readonly ops: readonly NetOp[]
}

/** Why a running pod cannot follow a change that leaves it MAC and addresses, undefined if it can. */
export function obstacle(before: AttachResult, after: AttachResult): string | undefined {
  const six = firstOfIpv6(after)
  if (six !== undefined && after.mtu < IPV6_MIN_MTU) return `MTU ${after.mtu} is too small for IPv6, and it has ${six}`
  if (six !== undefined && (before.mtu < IPV6_MIN_MTU || firstOfIpv6(before) === undefined)) return `IPv6 is new to it, and it has ${six}`
  const lost = askedVfSettings(before.vf).find((setting) => !askedVfSettings(after.vf).includes(setting))
  if (lost !== undefined) return `the host's physical function is not to enforce ${lost} any more, and only the release of the VF ends that`
  const own = after.ips.find(({ address }) => hasPrefixRoute(before, address) !== hasPrefixRoute(after, address))
  return own === undefined ? undefined : `the route to the prefix of its own address ${own.address} is another one`
}

/**
 * What turns the interface of a running pod from one result into another with the same MAC and addresses. What is in excess of
 * both stays: it is the pod's, or a later plugin's.
 */
export function update(dev: string, before: AttachResult, after: AttachResult): Update {
  const routes = difference(routesToMake(before), routesToMake(after), sameRoute)
  const neighbours = difference(before.neighbours, after.neighbours, sameNeighbour)
  const sysctls = Object.entries(after.sysctls).filter(([key, value]) => before.sysctls[key] !== value)
  const resized = before.mtu !== after.mtu
  const enforced = askedVfSettings(after.vf)
    .flatMap((setting) => VF_ADMIN_FIELDS[setting])
    .filter((field) => !isDeepStrictEqual(before.vf?.[field], after.vf?.[field]))
  return {
    changes: [
      ...(resized ? [`the MTU is ${after.mtu} instead of ${before.mtu}`] : []),
      ...routes.gone.map((route) => `route ${shownRoute(route)} is gone`),
      ...routes.fresh.map((route) => `route ${shownRoute(route)} is new`),
      ...neighbours.gone.map(({ ip }) => `neighbour ${ip} is gone`),
      ...neighbours.fresh.map(({ ip, mac }) => `neighbour ${ip} is ${mac}`),
      ...sysctls.map(([key, value]) => `${key} is ${value}`),
      ...enforced.map((field) => `${field} of the VF is ${JSON.stringify(after.vf?.[field])}`),
    ],
    ops: [
      ...(resized ? [{ op: 'link.set', dev, mtu: after.mtu } as const] : []),
      // Those with a gateway came last and go first.
      ...routes.gone.toReversed().map((route): NetOp => ({ op: 'route.del', dev, route })),
      ...routes.fresh.map((route): NetOp => ({ op: 'route.add', dev, route, existsOk: true })),
      ...neighbours.gone.map(({ ip }): NetOp => ({ op: 'neigh.del', dev, ip })),
      ...neighbours.fresh.map(({ ip, mac }): NetOp => ({ op: 'neigh.add', dev, ip, mac })),
      ...sysctls.map(([key, value]): NetOp => ({ op: 'sysctl', key, value })),
    ],
  }
}

const sameNeighbour = (a: Neighbour, b: Neighbour): boolean =>
  normalizeIp(a.ip) === normalizeIp(b.ip) && a.mac.toLowerCase() === b.mac.toLowerCase()

function difference<T extends Route | Neighbour>(
  before: readonly T[],
  after: readonly T[],
  same: (a: T, b: T) => boolean,
): { readonly gone: readonly T[]; readonly fresh: readonly T[] } {
  const lacks = (all: readonly T[]) => (one: T) => !all.some((other) => same(one, other))
  return { gone: before.filter(lacks(after)), fresh: after.filter(lacks(before)) }
}
