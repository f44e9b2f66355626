import { normalizeIp } from '@cni-offload/linux'
import { type AttachResult, type NetdevRef, OffloadError } from '@cni-offload/sdk'
import type { Netconf } from '@cni-offload/sdk/cni'
import { z } from 'zod'

/** The least MTU of a link that carries IPv6 (RFC 8200, section 5). */
export const IPV6_MIN_MTU = 1280

/** Names the first thing of a network that needs IPv6; undefined if nothing does. */
export function firstOfIpv6({ ips, routes }: Pick<AttachResult, 'ips' | 'routes'>): string | undefined {
  const [ip, route] = [ips.find(({ address }) => address.includes(':')), routes.find(({ dst }) => dst.includes(':'))]
  if (ip !== undefined) return `address ${ip.address}`
  return route === undefined ? undefined : `route ${route.dst}`
}

/** What a network has to fit. */
export interface Fit {
  /** What the runtime asked for. */
  readonly netconf: Netconf
  /** The interface that the pod gets; absent where a program has the function, and no kernel. */
  readonly netdev?: NetdevRef | undefined
  /** Addresses that were given on this host, if any were. */
  readonly hostIpam?: Pick<AttachResult, 'ips'> | undefined
  /** Whether this host's kernel has IPv6. */
  readonly ipv6: boolean
}

const asked = z.object({ mtu: z.number() })

/**
 * Refuses a network that the pod's interface, this host or the version of the result has no place for. What went through
 * would be lost in silence: an address, or every large packet.
 *
 * @throws OffloadError ADAPTER_FAILED, INVALID_NETCONF, HARDWARE_FAILURE, KERNEL_REFUSED, INCOMPATIBLE_VERSION, naming field and value
 */
export function refuseUnfit(result: AttachResult, { netconf, netdev, ipv6, hostIpam }: Fit): void {
  const { mtu, ips } = result
  if (hostIpam !== undefined) refuseOthers(ips, hostIpam.ips, netconf.name)
  const own = asked.safeParse(netconf.raw).data?.mtu ?? 0
  // Plugins take an MTU of 0 for one that was not given.
  if (own !== 0 && own !== mtu)
    throw new OffloadError('INVALID_NETCONF', `mtu = ${own}: network "${netconf.name}" has an MTU of ${mtu} on the DPU`, {
      hint: 'The network on the DPU decides. Take "mtu" out of the network configuration, or change it on both sides.',
    })
  if (netdev !== undefined && mtu > (netdev.maxMtu ?? Infinity))
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `${netdev.name} carries an MTU of ${netdev.maxMtu} at most; network "${netconf.name}" has ${mtu}`,
      { hint: 'Lower the MTU of the network on the DPU, or raise that of the card.' },
    )
  const six = firstOfIpv6(result)
  if (six !== undefined && mtu < IPV6_MIN_MTU)
    throw new OffloadError('INVALID_NETCONF', `mtu = ${mtu}: ${six} needs ${IPV6_MIN_MTU} or more, as all of IPv6`, {
      hint: `Raise the MTU of network "${netconf.name}" on the DPU, or give it IPv4 addresses only.`,
    })
  if (six !== undefined && netdev !== undefined && !ipv6)
    throw new OffloadError('KERNEL_REFUSED', `${six}: the kernel of this host has no IPv6`, {
      hint: 'Boot the host without ipv6.disable=1, or give the network IPv4 addresses only.',
    })
  const old = netconf.cniVersion === '0.1.0' || netconf.cniVersion === '0.2.0'
  if (old && ips.length + (netconf.prevResult?.ips.length ?? 0) === 0)
    throw new OffloadError(
      'INCOMPATIBLE_VERSION',
      `cniVersion = "${netconf.cniVersion}": its results need an address, and network "${netconf.name}" gives none`,
      { hint: 'Use cniVersion 0.3.0 or newer for networks without addresses.' },
    )
}

/** What the IPAM plugin has not given may be somebody else's. */
function refuseOthers(ips: AttachResult['ips'], given: AttachResult['ips'], network: string): void {
  const [has, should] = [addressList(ips), addressList(given)]
  if (has !== should)
    throw new OffloadError('ADAPTER_FAILED', `addresses are ${has} on the DPU, and the IPAM plugin of the host gave ${should}`, {
      hint: `The adapter of network "${network}" does not take addresses of the host: take "hostIPAM" out of the network configuration.`,
    })
}

function addressList(ips: AttachResult['ips']): string {
  const normal = ips.map(({ address }) => address.split('/')).map(([ip = '', length]) => `${normalizeIp(ip)}/${length}`)
  return normal.toSorted().join(', ')
}
