import { ApiPolicy, type Caller, CiliumClient, NO_PATIENCE } from '@cni-offload/adapter-cilium'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import type { LabCilium } from './model.ts'

const TIMEOUT_MS = 20_000

/**
 * Asks a node's cilium-agent, which has to be there.
 *
 * @throws CiliumApiError when it does not answer, or refuses
 */
export async function askCilium<T>(
  { socket }: Pick<LabCilium, 'socket'>,
  ask: (client: CiliumClient, caller: Caller) => Promise<T>,
): Promise<T> {
  const policy = new ApiPolicy(systemClock, () => Math.random())
  const client = new CiliumClient({ socket, requestTimeoutMs: TIMEOUT_MS, policy })
  return await ask(client, { signal: AbortSignal.timeout(TIMEOUT_MS), log: silentLogger, patience: NO_PATIENCE })
}
