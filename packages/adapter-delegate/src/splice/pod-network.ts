import { inPrefix, type Link, type LinuxNet, type NetnsPath } from '@cni-offload/linux'
import { type AttachResult, attachResult, type IpAssignment, type Neighbour, parseWith, type Route } from '@cni-offload/sdk'
import { type CniResult, withGateway } from '@cni-offload/sdk/cni'

/** What the kernel has of an interface. */
export interface ObservedInterface {
  /** The interface. */
  readonly link: Link
  /** Its addresses with prefix length. */
  readonly addresses: readonly string[]
  /** Its routes, the kernel's own left out. */
  readonly routes: readonly Route[]
  /** Its permanent neighbours. */
  readonly neighbours: readonly Neighbour[]
}

/** Reads an interface back. */
export async function observe(net: LinuxNet, netns: NetnsPath, link: Link): Promise<ObservedInterface> {
  const [addresses, routes, neighbours] = await Promise.all([
    net.addresses(netns, link.name),
    net.routes(netns, link.name),
    net.neighbours(netns, link.name),
  ])
  return { link, addresses, routes, neighbours }
}

/**
 * What the pod on the host needs to be what the CNI made of the proxy.
 *
 * Addresses are those of the CNI's result. Routes are those that the kernel has, since not every CNI reports what it adds
 * (Calico reports none), and after them those of the result that the kernel has not.
 *
 * @param sysctls - kernel settings that the CNI made in the pod's namespace
 * @throws OffloadError ADAPTER_FAILED when that makes no valid result
 */
export function podNetwork(cni: CniResult, seen: ObservedInterface, sysctls: Readonly<Record<string, string>>): AttachResult {
  const ips = cni.ips
    .filter((ip) => ip.interface === undefined || isPods(cni, ip.interface, seen.link.name))
    .map(({ address, gateway }): IpAssignment => ({ address, ...(gateway === undefined ? {} : { gateway }) }))
  const result = {
    mac: seen.link.mac,
    mtu: seen.link.mtu,
    ips,
    routes: reachable([...seen.routes, ...missingRoutes(cni, seen.routes, ips)], ips),
    neighbours: seen.neighbours,
    dns: cni.dns,
    sysctls,
  }
  return parseWith(attachResult, result, 'result of the plugin list', 'ADAPTER_FAILED')
}

function isPods(cni: CniResult, index: number, ifName: string): boolean {
  const owner = cni.interfaces[index]
  return owner === undefined || (owner.name === ifName && owner.sandbox !== undefined && owner.sandbox !== '')
}

function missingRoutes(cni: CniResult, known: readonly Route[], ips: readonly IpAssignment[]): Route[] {
  return cni.routes
    .filter((route) => !known.some(({ dst, table }) => sameNetwork(dst, route.dst) && (table ?? 254) === (route.table ?? 254)))
    .map((route) => withGateway(route, ips))
}

/** Orders routes so that each can be added when its turn comes, and adds what gateways outside of all prefixes need first. */
function reachable(routes: readonly Route[], ips: readonly IpAssignment[]): Route[] {
  const direct = routes.filter(({ gw }) => gw === undefined)
  const onLink = [...direct.map(({ dst }) => dst), ...ips.map(({ address }) => address)]
  const gateways = routes.flatMap(({ gw }) => (gw === undefined ? [] : [gw]))
  const unreachable = gateways.filter((gw) => !isLinkLocal(gw) && !onLink.some((prefix) => inPrefix(prefix, gw)))
  const added = [...new Set(unreachable)].map((gw): Route => (isV6(gw) ? { dst: `${gw}/128` } : { dst: `${gw}/32`, scope: 253 }))
  return [...direct, ...added, ...routes.filter(({ gw }) => gw !== undefined)]
}

const isV6 = (text: string): boolean => text.includes(':')

/** IPv6 link-local addresses are on every link. */
const isLinkLocal = (address: string): boolean => inPrefix('fe80::/10', address)

function sameNetwork(a: string, b: string): boolean {
  const [[network = '', length], [other = '', otherLength]] = [a.split('/'), b.split('/')]
  return length === otherLength && inPrefix(a, other) && inPrefix(b, network)
}
