import { BlockList, isIPv6 } from 'node:net'
import type { AttachResult } from '@cni-offload/sdk'

/** Gateways of a pod, each one once, as they are written. */
export function gatewaysOf({ ips, routes }: Pick<AttachResult, 'ips' | 'routes'>): string[] {
  const all = [...ips.map(({ gateway }) => gateway), ...routes.map(({ gw }) => gw)]
  return [...new Set(all.filter((gateway) => gateway !== undefined))]
}

/** Whether an address is one of these, however they are written. */
export function isOneOf(addresses: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const address of addresses) list.addAddress(address, family(address))
  return (address) => list.check(address, family(address))
}

const family = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4')
