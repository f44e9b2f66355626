import { askCilium } from '../ask-cilium.ts'
import type { LabNode } from '../model.ts'
import type { Holding } from './holding.ts'

/** Added to the owner by an agent that was restarted; it holds what it held. */
const RESTORED = / \[restored\]$/

/** Endpoints of a node's cilium-agent, and addresses that it has given away. Nothing where there is none. */
export async function ciliumHoldings({ name, cilium }: LabNode): Promise<Holding[]> {
  if (cilium === undefined) return []
  return await askCilium(cilium, async (client, caller) => {
    const { ipam } = await client.health(caller, false)
    return [
      ...(await client.endpoints(caller)).map(({ status }) => ({
        node: name,
        kind: 'endpoint' as const,
        what: `${status['external-identifiers']?.['cni-attachment-id'] ?? 'unknown'} ${status.state}`,
      })),
      ...Object.entries(ipam?.allocations ?? {}).map(([ip, owner]) => ({
        node: name,
        kind: 'lease' as const,
        what: `${ip} of ${owner.replace(RESTORED, '')} in cilium-agent`,
      })),
    ]
  })
}
