import { isIPv6 } from 'node:net'
import type { AttachResult, IpAssignment } from '@cni-offload/sdk'
import { addressAt, offsetOf, parseSubnet, type Pool } from '@cni-offload/sdk/pool'
import type { PoolConf, PoolRange } from '../netconf/ipam.ts'

/** What an IPAM gives a pod. */
export type Assignment = Pick<AttachResult, 'ips' | 'routes' | 'dns'>

/** The pools of a network, one for each range. Networks have theirs apart from each other, also with the same prefixes. */
export function poolsOf(network: string, { ranges }: PoolConf): readonly Pool[] {
  return ranges.map((range): Pool => {
    const { subnet: cidr, rangeStart, rangeEnd, gateway } = range
    const subnet = parseSubnet(cidr)
    const part = {
      ...subnet,
      first: rangeStart === undefined ? subnet.first : offsetOf(subnet, rangeStart),
      last: rangeEnd === undefined ? subnet.last : offsetOf(subnet, rangeEnd),
    }
    return { name: `${network} ${cidr}`, subnet: part, ...(gateway === undefined ? {} : { gatewayOffset: offsetOf(subnet, gateway) }) }
  })
}

/** What a pod gets with these addresses, one of each range, in their order. */
export function poolAssignment({ ranges, routes, dns }: PoolConf, addresses: readonly string[]): Assignment {
  const ips = ranges.map((range, at) => ipOf(range, addresses[at] ?? ''))
  return { ips, routes: withGateways(routes, ips), dns }
}

/** Routes without a gateway lead to that of the addresses of their family, if there is one. */
export function withGateways(routes: Assignment['routes'], ips: readonly IpAssignment[]): Assignment['routes'] {
  return routes.map((route) => {
    const gw = route.gw ?? ips.find(({ address, gateway }) => gateway !== undefined && isV6(address) === isV6(route.dst))?.gateway
    return gw === undefined ? route : { ...route, gw }
  })
}

function ipOf({ subnet: cidr, gateway }: PoolRange, address: string): IpAssignment {
  const subnet = parseSubnet(cidr)
  const canonical = gateway === undefined ? {} : { gateway: addressAt(subnet, offsetOf(subnet, gateway)) }
  return { address: `${address}/${subnet.length}`, ...canonical }
}

const isV6 = (cidr: string): boolean => isIPv6(cidr.split('/')[0] ?? '')
