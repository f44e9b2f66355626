import type { AttachResult, Route } from '@cni-offload/sdk'
import { inPrefix } from '../netlink/address.ts'
import { normalizeRoute } from '../netlink/route.ts'

type Network = Pick<AttachResult, 'ips' | 'routes'>

/** Metric of the route that the kernel makes to the prefix of an IPv6 address. */
const IPV6_PREFIX_PRIORITY = 256

const isV6 = (address: string): boolean => address.includes(':')

const lengthOf = (cidr: string): number => Number(cidr.slice(cidr.indexOf('/') + 1))

const prefixOf = (address: string): string => normalizeRoute({ dst: address }).dst

const isPlain = (route: Route): boolean => Object.keys(route).every((field) => field === 'dst')

/** Where the kernel has room for one route only. */
const placeOf = ({ dst, table, priority }: Route): string => `${dst} ${table ?? ''} ${priority ?? ''}`

/** Several routes may want one place, the default route of each address for example: the first one has it, as between interfaces. */
function oneForEachPlace(routes: readonly Route[]): Route[] {
  const places = new Map<string, Route>()
  for (const route of routes.map(normalizeRoute)) if (!places.has(placeOf(route))) places.set(placeOf(route), route)
  return [...places.values()]
}

/** Whether a route says in its own way how a prefix is reached, instead of directly. */
function replaces(route: Route, prefix: string): boolean {
  const { dst, table, priority } = route
  if (dst !== prefix || table !== undefined) return false
  return priority === undefined ? !isPlain(route) : isV6(dst) && priority === IPV6_PREFIX_PRIORITY
}

/**
 * Whether the kernel makes the on-link route to an address's own prefix, as it does by itself; not if the network has
 * another one in its place, as plugins have that route between pods of the same prefix.
 */
export function hasPrefixRoute({ routes }: Pick<Network, 'routes'>, address: string): boolean {
  const prefix = prefixOf(address)
  return !routes.some((route) => replaces(normalizeRoute(route), prefix))
}

/**
 * The routes that have to be made, in normal form and in an order that the kernel accepts: on-link ones first, because a
 * gateway must be on the link when its turn comes. A gateway that is not gets a route of its own. Routes to an address's
 * own prefix are left to the kernel where it makes them.
 */
export function routesToMake({ ips, routes }: Network): Route[] {
  const wanted = oneForEachPlace(routes)
  const connected = new Set(ips.filter(({ address }) => hasPrefixRoute({ routes }, address)).map(({ address }) => prefixOf(address)))
  const own = wanted.filter((route) => !(isPlain(route) && connected.has(route.dst)))
  const main = [...Array.from(connected, (dst): Route => ({ dst })), ...own.filter(({ table }) => table === undefined)]
  const places = new Set(own.map(placeOf))
  const added = own
    .flatMap(({ gw }) => (gw === undefined || isOnLink(gw, main) ? [] : [{ dst: `${gw}/${isV6(gw) ? 128 : 32}` }]))
    .filter((route) => !places.has(placeOf(route)))
  return [...own.filter(({ gw }) => gw === undefined), ...oneForEachPlace(added), ...own.filter(({ gw }) => gw !== undefined)]
}

/** Whether the best routes to a gateway lead to it directly, whatever their metrics. IPv6 link-local addresses are on every link. */
function isOnLink(gateway: string, routes: readonly Route[]): boolean {
  if (inPrefix('fe80::/10', gateway)) return true
  // A route of scope "global" promises nothing about what is behind it, and the kernel does not look for gateways there.
  const covering = routes.filter(({ dst, scope }) => scope === undefined && inPrefix(dst, gateway))
  const best = Math.max(...covering.map(({ dst }) => lengthOf(dst)))
  return covering.length > 0 && covering.every(({ dst, gw }) => lengthOf(dst) < best || gw === undefined)
}
