import { type AgentConfig, type AgentHealth, ApiPolicy, CiliumApiError, CiliumClient, NO_PATIENCE } from '@cni-offload/adapter-cilium'
import { OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'

/** What a cilium-agent says of itself. */
export interface AgentView {
  /** Its configuration. */
  readonly config: AgentConfig
  /** Its state, the whole of it. */
  readonly health: AgentHealth
}

/** Longest that one request may take, milliseconds. */
const REQUEST_MS = 10_000

/** Remedies by what the system says about the socket. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT:
    'Is cilium-agent running on this DPU? If it is a pod or a container, is its /var/run/cilium that of the DPU? Name another path by "socket" of the adapter or --cilium-socket.',
  ECONNREFUSED: 'The file is left of an agent that has ended: start cilium-agent again, and look at its log for why it ended.',
  ENOTSOCK: 'Name the path of the socket by "socket" of the adapter or --cilium-socket.',
  EACCES: 'Run this as root or as a member of the group "cilium".',
}

/** Asks an agent once. @throws OffloadError with the remedy for what keeps it from answering */
export async function askAgent(socket: string, signal: AbortSignal): Promise<AgentView> {
  const random = (): number => Math.random()
  const client = new CiliumClient({ socket, requestTimeoutMs: REQUEST_MS, policy: new ApiPolicy(systemClock, random) })
  const caller = { signal, log: silentLogger, patience: NO_PATIENCE }
  try {
    return { config: await client.config(caller), health: await client.health(caller, false) }
  } catch (error) {
    const remedy = REMEDIES[systemCode(error)]
    if (!(error instanceof CiliumApiError) || remedy === undefined) throw error
    throw new OffloadError(error.code, error.message, { cause: error, hint: remedy })
  }
}

function systemCode(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && 'code' in cause ? String(cause.code) : ''
}
