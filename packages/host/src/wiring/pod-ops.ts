import { hasPrefixRoute, type NetOp, routesToMake } from '@cni-offload/linux'
import type { AttachResult, NetdevRef } from '@cni-offload/sdk'
import { firstOfIpv6, IPV6_MIN_MTU } from './fit.ts'

/** Name of an interface as a part of a sysctl's dotted name. */
const part = (ifName: string): string => ifName.replaceAll('.', '/')

/**
 * What has to be done in a pod's namespace to give its interface the network that the agent decided, in order: the
 * interface stays silent until its MAC, MTU and kernel settings are right, and nothing is announced before it can answer.
 *
 * @param ifName - the interface, already in the namespace and down
 * @param has - what the interface has at the moment
 * @param result - what it is to have
 * @param ipv6 - whether the kernel has IPv6
 */
export function podOps(ifName: string, has: Pick<NetdevRef, 'mac' | 'mtu'>, result: AttachResult, ipv6: boolean): NetOp[] {
  const mac = result.mac === has.mac ? {} : { mac: result.mac }
  const mtu = result.mtu === has.mtu ? {} : { mtu: result.mtu }
  const addresses = result.ips.map(({ address }) => address)
  return [
    ...(Object.keys(mac).length + Object.keys(mtu).length === 0 ? [] : [{ op: 'link.set' as const, dev: ifName, ...mac, ...mtu }]),
    // The kernel has no IPv6, and no settings of it, on links with a smaller MTU.
    ...(ipv6 && result.mtu >= IPV6_MIN_MTU ? ipv6Ops(ifName, result) : []),
    ...Object.entries(result.sysctls).map(([key, value]): NetOp => ({ op: 'sysctl', key, value })),
    { op: 'link.set', dev: ifName, up: true },
    ...addresses.map((address): NetOp => ({
      op: 'addr.add',
      dev: ifName,
      address,
      ...(hasPrefixRoute(result, address) ? {} : { prefixRoute: false }),
    })),
    // Networks of one pod may want the same route, the default one as a rule: the first one has it, as with other plugins.
    ...routesToMake(result).map((route): NetOp => ({ op: 'route.add', dev: ifName, route, existsOk: true })),
    ...result.neighbours.map(({ ip, mac: of }): NetOp => ({ op: 'neigh.add', dev: ifName, ip, mac: of })),
    { op: 'announce', dev: ifName, addresses },
  ]
}

/**
 * The CNI decides the addresses: without IPv6 ones the interface must not speak IPv6 by itself, with them it must not
 * make up more (router advertisements) nor wait a second for duplicates that the CNI has excluded. A namespace with IPv6
 * switched off gets it back on this interface and on loopback, as the reference plugins do it. Without any address the
 * network is a plain Ethernet, and what is spoken on it is the pod's affair.
 */
function ipv6Ops(ifName: string, result: AttachResult): NetOp[] {
  const set = (dev: string, name: string, value: string): NetOp => ({ op: 'sysctl', key: `net.ipv6.conf.${part(dev)}.${name}`, value })
  if (result.ips.length + result.routes.length === 0) return []
  if (firstOfIpv6(result) === undefined) return [set(ifName, 'disable_ipv6', '1')]
  return [set('lo', 'disable_ipv6', '0'), set(ifName, 'disable_ipv6', '0'), set(ifName, 'accept_ra', '0'), set(ifName, 'accept_dad', '0')]
}
