import type { NetOp } from '@cni-offload/linux'
import type { AttachResult, NetdevRef } from '@cni-offload/sdk'
import { routesToMake } from './routes.ts'

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
    ...(ipv6
      ? ipv6Ops(
          ifName,
          addresses.some((address) => address.includes(':')),
        )
      : []),
    ...Object.entries(result.sysctls).map(([key, value]): NetOp => ({ op: 'sysctl', key, value })),
    { op: 'link.set', dev: ifName, up: true },
    ...addresses.map((address): NetOp => ({ op: 'addr.add', dev: ifName, address })),
    // Networks of one pod may want the same route, the default one as a rule: the first one has it, as with other plugins.
    ...routesToMake(result).map((route): NetOp => ({ op: 'route.add', dev: ifName, route, existsOk: true })),
    ...result.neighbours.map(({ ip, mac: of }): NetOp => ({ op: 'neigh.add', dev: ifName, ip, mac: of })),
    { op: 'announce', dev: ifName, addresses },
  ]
}

/**
 * The CNI decides the addresses: without an IPv6 one the interface must not speak IPv6 by itself, with one it must not
 * make up more (router advertisements) nor wait a second for duplicates that the CNI has excluded.
 */
function ipv6Ops(ifName: string, wanted: boolean): NetOp[] {
  const set = (name: string, value: string): NetOp => ({ op: 'sysctl', key: `net.ipv6.conf.${part(ifName)}.${name}`, value })
  return wanted ? [set('disable_ipv6', '0'), set('accept_ra', '0'), set('accept_dad', '0')] : [set('disable_ipv6', '1')]
}
