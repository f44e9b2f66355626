import type { AttachmentKey, VirtualFunction } from '@cni-offload/sdk'
import type { AttachmentJournal, AttachmentRow, CleanupLeft, LeaseRequest } from '../../src/journal/types.ts'

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

/** Gives an attachment a VF and its network, as ADD does. */
export function wire(journal: AttachmentJournal, request: LeaseRequest): AttachmentRow {
  const row = journal.lease(request)
  journal.attached(row.key, RESULT)
  journal.wired(row.key)
  return row
}

/** Ends an attachment of which nothing is left to do. */
export function end(journal: AttachmentJournal, key: AttachmentKey): void {
  journal.detaching(key)
  journal.free(key)
}

/** Ends an attachment of which something is left to do. */
export function endPartly(journal: AttachmentJournal, key: AttachmentKey, left: CleanupLeft): void {
  journal.detaching(key)
  journal.quarantine(key, left)
}
