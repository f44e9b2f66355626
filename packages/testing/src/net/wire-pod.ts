import { existsSync } from 'node:fs'
import { hasPrefixRoute, type LinuxNet, type NetnsPath, type NetOp, routesToMake } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'

/**
 * Gives a pod's interface what an adapter decided, in the order in which the host does it: silent first, MAC and MTU, up,
 * addresses, routes, neighbours, and only then it speaks.
 */
export async function wirePod(net: LinuxNet, netns: NetnsPath, ifName: string, result: AttachResult): Promise<void> {
  const ipv6 = result.ips.some(({ address }) => address.includes(':'))
  const key = ifName.replaceAll('.', '/')
  const silence: Readonly<Record<string, string>> = { disable_ipv6: ipv6 ? '0' : '1', accept_ra: '0', accept_dad: '0' }
  const ops: NetOp[] = [
    // A kernel without IPv6 has no such settings, and nothing that could speak.
    ...(existsSync('/proc/sys/net/ipv6') ? Object.entries(silence) : []).map(([name, value]): NetOp => ({
      op: 'sysctl',
      key: `net.ipv6.conf.${key}.${name}`,
      value,
    })),
    { op: 'link.set', dev: ifName, mac: result.mac, mtu: result.mtu },
    ...Object.entries(result.sysctls).map(([name, value]): NetOp => ({ op: 'sysctl', key: name, value })),
    { op: 'link.set', dev: ifName, up: true },
    ...result.ips.map(({ address }): NetOp => ({
      op: 'addr.add',
      dev: ifName,
      address,
      ...(hasPrefixRoute(result, address) ? {} : { prefixRoute: false }),
    })),
    ...routesToMake(result).map((route): NetOp => ({ op: 'route.add', dev: ifName, route })),
    ...result.neighbours.map(({ ip, mac }): NetOp => ({ op: 'neigh.add', dev: ifName, ip, mac })),
    { op: 'announce', dev: ifName, addresses: result.ips.map(({ address }) => address) },
  ]
  await net.apply(netns, ops)
}

/** Takes from a pod's interface what {@link wirePod} gave it: it is down and silent afterwards. */
export async function unwirePod(
  net: LinuxNet,
  netns: NetnsPath,
  ifName: string,
  pristine: { readonly mac: string; readonly mtu: number },
): Promise<void> {
  await net.apply(netns, [
    { op: 'link.set', dev: ifName, up: false, mac: pristine.mac, mtu: pristine.mtu },
    { op: 'addr.flush', dev: ifName },
  ])
}
