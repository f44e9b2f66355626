import type { Machine } from '@cni-offload/linux/machine'
import { journalFinding } from '../doctor/dpu/agent-log.ts'
import { deviceFinding, findAgents, processFinding } from '../doctor/dpu/agent-process.ts'
import { vfioFinding } from '../doctor/dpu/vfio.ts'
import type { OcteonFinding } from '../doctor/finding.ts'
import type { AgentGeneration } from './generation.ts'
import type { ProcessEntry } from './process-table.ts'

/** A control agent that somebody else runs. */
export interface AdoptedAgent {
  /** Unit of systemd that runs it, for its log. */
  readonly unit: string
  /** What fits the firmware: what it has to be started with, and to have open. */
  readonly generation: AgentGeneration
}

/**
 * What was found when something was looked at: that there is one and its command, the drivers of its functions, what it has open, its
 * log; and over time, whether its loop goes on.
 */
export interface AgentFinding extends OcteonFinding {
  /** What was looked at. */
  readonly check: 'process' | 'driver' | 'open' | 'log' | 'turns'
}

/** What was found of a control agent. */
export interface AgentHealth {
  /** Its process; undefined if there is none, or several. */
  readonly process: ProcessEntry | undefined
  /** All that was looked at: the same that the doctor looks at. */
  readonly findings: readonly AgentFinding[]
}

/**
 * Looks at a control agent that somebody else runs.
 *
 * @param withLog - also at what it has said, which takes a command
 */
export async function agentHealth(
  machine: Machine,
  { unit, generation }: AdoptedAgent,
  signal: AbortSignal,
  withLog = true,
): Promise<AgentHealth> {
  const agents = await findAgents(machine)
  const [process, ...others] = agents
  const findings: AgentFinding[] = [
    { check: 'process', ...processFinding(agents, generation) },
    { check: 'driver', ...(await vfioFinding(machine, generation.vfio)) },
  ]
  if (process === undefined || others.length > 0) return { process: undefined, findings }
  findings.push({ check: 'open', ...(await deviceFinding(machine, agents, generation.vfio)) })
  if (withLog) findings.push({ check: 'log', ...(await journalFinding(machine, unit, process.pid, signal)) })
  return { process, findings }
}
