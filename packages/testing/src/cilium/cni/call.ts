import { createHash } from 'node:crypto'
import type { CniEnvironment } from '@cni-offload/sdk/cni'
import { type AgentClient, AgentFailure } from './agent-client.ts'
import type { Fields } from './fields.ts'

/** A call of the plugin. */
export interface PluginCall {
  /** What the runtime says. */
  readonly env: Omit<CniEnvironment, 'verb' | 'path'>
  /** Configuration. */
  readonly conf: Fields
  /** The agent. */
  readonly agent: AgentClient
}

/** A failure with a code of its own. */
export class CniFailure extends Error {
  override readonly name = 'CniFailure'
  /** CNI error code. */
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** The name that cilium-cni gives the agent's end. */
export function lxcName({ containerId, ifName }: PluginCall['env']): string {
  return `lxc${createHash('sha256').update(`${containerId}:${ifName}`).digest('hex').slice(0, 12)}`
}

/** Says of a call that nobody answered what cilium-cni says. */
export async function connect<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AgentFailure && error.status === undefined)
      throw new AgentFailure(`unable to connect to Cilium agent: ${error.message}`, undefined, error)
    throw error
  }
}

/** Says what a call was for when it fails. */
export async function named<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AgentFailure) throw new AgentFailure(`${what}: ${error.message}`, error.status, error)
    throw error
  }
}
