import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'
import { gatewaysOf, isOneOf } from './gateways.ts'

/** Where a pod's gateways are looked for. */
export interface AnnounceDeps {
  /** Kernel access. */
  readonly net: Pick<LinuxNet, 'apply' | 'addresses' | 'link' | 'links'>
  /** Namespace in which the CNI has its gateways. */
  readonly home: NetnsPath
  /** The pod's proxy namespace. */
  readonly proxy: NetnsPath
  /** Device that answers for all gateways of the pod without having their addresses; absent if none does. */
  readonly answering?: string | undefined
}

/**
 * Tells a running pod the MACs of its gateways: a device that was made anew has another one than the pod remembers, and until it notices by
 * itself nothing of what it sends arrives. Told are only gateways that the DPU's end of its interface, or the bridge of that, really has.
 *
 * @param ifName - the CNI's interface in the proxy namespace
 */
export async function announceGateways(
  { net, home, proxy, answering }: AnnounceDeps,
  ifName: string,
  result: Pick<AttachResult, 'ips' | 'routes'>,
): Promise<void> {
  const gateways = gatewaysOf(result)
  if (gateways.length === 0) return
  if (answering !== undefined) return await net.apply(home, [{ op: 'announce', dev: answering, addresses: gateways }])
  const isGateway = isOneOf(gateways)
  const [inside, links] = await Promise.all([net.link(proxy, ifName), net.links(home)])
  for (const { name } of holders(inside, links)) {
    const own = (await net.addresses(home, name, { linkLocal: true })).map((cidr) => cidr.slice(0, cidr.indexOf('/')))
    const addresses = own.filter(isGateway)
    if (addresses.length > 0) await net.apply(home, [{ op: 'announce', dev: name, addresses }])
  }
}

/** What a gateway of the pod can be an address of. */
function holders(inside: Link | undefined, links: readonly Link[]): Link[] {
  // Both know of each other: an index alone may be that of a link in another namespace.
  const end = links.find(({ index, peer }) => inside !== undefined && inside.peer === index && peer === inside.index)
  const master = end?.master === undefined ? undefined : links.find(({ index }) => index === end.master)
  return [end, master].filter((link) => link !== undefined)
}
