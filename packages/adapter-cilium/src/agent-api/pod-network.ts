import { type AttachResult, OffloadError, type Route } from '@cni-offload/sdk'
import type { AgentInfo, Family } from './agent-info.ts'

const PREFIX: Readonly<Record<Family, number>> = { ipv4: 32, ipv6: 128 }
const ANYWHERE: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0/0', ipv6: '::/0' }
const LINK_SCOPE = 253

/** Family of an address. */
export function familyOf(ip: string): Family {
  return ip.includes(':') ? 'ipv6' : 'ipv4'
}

/**
 * What cilium-cni would give the pod: addresses without a subnet, and everything by way of the router.
 *
 * @throws OffloadError ADAPTER_FAILED for an address of a family that the agent does not have
 */
export function podNetwork(info: AgentInfo, mac: string, ips: readonly string[]): AttachResult {
  const families = ips.map((ip) => ({ ip, family: familyOf(ip), router: routerFor(info, ip) }))
  return {
    mac,
    mtu: info.deviceMtu,
    ips: families.map(({ ip, family, router }) => ({ address: `${ip}/${PREFIX[family]}`, gateway: router })),
    routes: families.flatMap(({ family, router }): Route[] => [
      { dst: `${router}/${PREFIX[family]}`, ...(family === 'ipv4' ? { scope: LINK_SCOPE } : {}) },
      { dst: ANYWHERE[family], gw: router, ...(info.routeMtu > 0 ? { mtu: info.routeMtu } : {}) },
    ]),
    neighbours: [],
    dns: {},
    sysctls: info.podSysctls,
  }
}

function routerFor({ routers }: AgentInfo, ip: string): string {
  const router = routers[familyOf(ip)]
  if (router === undefined)
    throw new OffloadError('ADAPTER_FAILED', `the pod has ${ip}, but ${familyOf(ip)} is not enabled in cilium-agent`, {
      hint: `Set ${familyOf(ip)}.enabled=true again, or restart the pod.`,
    })
  return router
}
