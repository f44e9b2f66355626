import type { VirtualFunction } from '@cni-offload/sdk'
import type { LeaseRequest } from '../../src/journal/types.ts'

export function vfsOf(count: number, device = 'dev0'): VirtualFunction[] {
  return Array.from({ length: count }, (_, index) => ({
    id: { device, index },
    pciAddress: `0000:01:00.${index}`,
    mac: `02:00:00:00:00:${index.toString(16).padStart(2, '0')}`,
    health: 'healthy' as const,
    capabilities: { setMac: true, maxMtu: 9000 },
  }))
}

export function leaseOf(name: string, more: Partial<LeaseRequest> = {}): LeaseRequest {
  return {
    intent: {
      key: { network: 'net', containerId: name, ifName: 'eth0' },
      pod: { namespace: 'ns', name, uid: 'u' },
      netconf: { name: 'net' },
      runtimeConfig: {},
      cniArgs: {},
      flags: { ipsec: false },
    },
    netns: `/run/netns/${name}`,
    netnsIdentity: `4:${name}`,
    bootId: 'boot-1',
    ...more,
  }
}

export const RESULT = {
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  ips: [{ address: '10.0.0.2/24' }],
  routes: [],
  neighbours: [],
  dns: {},
  sysctls: {},
}
