import { type Link, type LinuxNet, type NetnsPath, normalizeCidr, normalizeIp, routesToMake } from '@cni-offload/linux'
import type { AttachResult, Route } from '@cni-offload/sdk'
import type { CniInterface, CniResult } from '@cni-offload/sdk/cni'

/** A pod's interface as it is. */
export interface PodInterface {
  /** The link. */
  readonly link: Link
  /** Its addresses, IPv6 link-local ones among them, in normal form. */
  readonly addresses: readonly string[]
  /** Its routes, in normal form, without the kernel's own. */
  readonly routes: readonly Route[]
  /** Routes of the pod's other interfaces. */
  readonly otherRoutes: readonly Route[]
}

/**
 * Reads a pod's interface; undefined if there is none of that name.
 *
 * @throws OffloadError NOT_FOUND if the namespace is gone
 */
export async function readPodInterface(net: LinuxNet, netns: NetnsPath, ifName: string): Promise<PodInterface | undefined> {
  const links = await net.links(netns)
  const link = links.find(({ name }) => name === ifName)
  if (link === undefined) return undefined
  const others = links.filter(({ name }) => name !== ifName && name !== 'lo')
  const [addresses, routes, ...rest] = await Promise.all([
    net.addresses(netns, ifName, { linkLocal: true }),
    net.routes(netns, ifName),
    ...others.map(({ name }) => net.routes(netns, name)),
  ])
  return { link, addresses, routes, otherRoutes: rest.flat() }
}

/** A route for people. */
export const shownRoute = (route: Route): string => `${route.dst}${route.gw === undefined ? '' : ` via ${route.gw}`}`

const sameButTable = (a: Route, b: Route): boolean =>
  a.dst === b.dst && a.gw === b.gw && a.priority === b.priority && a.mtu === b.mtu && a.advmss === b.advmss && a.scope === b.scope

/** Whether two routes in normal form are the same. */
export const sameRoute = (a: Route, b: Route): boolean => a.table === b.table && sameButTable(a, b)

/** Whether the kernel would not have both: then the other interface's came first, and ours was never made. */
const excludes = (other: Route, ours: Route): boolean =>
  other.dst === ours.dst && other.table === ours.table && other.priority === ours.priority

/** What an interface lacks of the network that it was given. */
export interface Drift {
  /** It is not up. */
  readonly down: boolean
  /** What it is set to instead of what it should be, as readable phrases: MAC and MTU. */
  readonly settings: readonly string[]
  /** Addresses that it does not have, as they were given. */
  readonly addresses: readonly string[]
  /** Routes that are not there, in an order that the kernel accepts. */
  readonly routes: readonly Route[]
}

/**
 * What an interface lacks of the network that it was given. Addresses and routes in excess are fine: later plugins of the list
 * may have added them.
 *
 * @param stated - the interface as the final result of the list has it: a later plugin may have changed MAC and MTU
 */
export function drift(has: PodInterface, expected: AttachResult, stated?: CniInterface): Drift {
  const { link } = has
  const mac = stated?.mac?.toLowerCase() ?? expected.mac
  const mtu = stated?.mtu ?? expected.mtu
  const routes = routesToMake(expected).filter((route) => !has.otherRoutes.some((other) => excludes(other, route)))
  // A later plugin may have moved routes of the main table to one of its own, as sbr does for source-based routing.
  const moved = has.routes.filter((route) => route.table !== undefined && !routes.some((own) => sameRoute(own, route)))
  const stands = (route: Route): boolean =>
    has.routes.some((candidate) => sameRoute(route, candidate)) ||
    (route.table === undefined && moved.some((candidate) => sameButTable(route, candidate)))
  return {
    down: !link.up,
    settings: [
      ...(link.mac === mac ? [] : [`MAC is ${link.mac} instead of ${mac}`]),
      ...(link.mtu === mtu ? [] : [`MTU is ${link.mtu} instead of ${mtu}`]),
    ],
    addresses: expected.ips.map(({ address }) => address).filter((address) => !has.addresses.includes(normalizeCidr(address))),
    routes: routes.filter((route) => !stands(route)),
  }
}

/** What an interface lacks as readable phrases, see {@link drift}; empty if all is there. */
export function differences(has: PodInterface, expected: AttachResult, stated?: CniInterface): string[] {
  const { down, settings, addresses, routes } = drift(has, expected, stated)
  return [
    ...(down ? [`${has.link.name} is down`] : []),
    ...settings,
    ...addresses.map((address) => `address ${address} is missing`),
    ...routes.map((route) => `route ${shownRoute(route)} is missing`),
  ]
}

const withoutPrefix = (address: string): string => address.slice(0, address.indexOf('/'))

const indexOf = (result: CniResult, ifName: string, netns: NetnsPath): number =>
  result.interfaces.findIndex(({ name, sandbox }) => name === ifName && sandbox === netns)

/** A pod's interface as a result has it. @param netns - CNI_NETNS as given: results have it literally */
export function statedInterface(result: CniResult, ifName: string, netns: NetnsPath): CniInterface | undefined {
  return result.interfaces[indexOf(result, ifName, netns)]
}

/**
 * What the final result of the list says about an interface and its addresses that is not so, as readable phrases.
 *
 * @param netns - CNI_NETNS as given: results have it literally
 */
export function contradictions(has: PodInterface, previous: CniResult, netns: NetnsPath): string[] {
  const { link } = has
  const index = indexOf(previous, link.name, netns)
  if (index < 0) return [`prevResult has no interface ${link.name} in ${netns}`]
  const addresses = has.addresses.map(withoutPrefix)
  const strange = previous.ips.filter((ip) => ip.interface === index && !addresses.includes(normalizeIp(withoutPrefix(ip.address))))
  return strange.map(({ address }) => `address ${address} of prevResult is missing`)
}
