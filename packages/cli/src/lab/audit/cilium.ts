import { ApiPolicy, CiliumClient, NO_PATIENCE } from '@cni-offload/adapter-cilium'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import type { LabNode } from '../model.ts'
import type { Holding } from './holding.ts'

const TIMEOUT_MS = 20_000

/** Added to the owner by an agent that was restarted; it holds what it held. */
const RESTORED = / \[restored\]$/

/** Endpoints of a node's cilium-agent, and addresses that it has given away. Nothing where there is none. */
export async function ciliumHoldings({ name, cilium }: LabNode): Promise<Holding[]> {
  if (cilium === undefined) return []
  const policy = new ApiPolicy(systemClock, () => Math.random())
  const client = new CiliumClient({ socket: cilium.socket, requestTimeoutMs: TIMEOUT_MS, policy })
  const caller = { signal: AbortSignal.timeout(TIMEOUT_MS), log: silentLogger, patience: NO_PATIENCE }
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
}
