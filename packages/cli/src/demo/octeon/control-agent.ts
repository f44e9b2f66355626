import { dirname, join } from 'node:path'
import { HARDWARE_FOLDER } from '@cni-offload/agent'
import { AGENT_PID_FILE, agentRecordFile, type AgentRecord, readAgentRecord } from '@cni-offload/hw-octeon'
import { localMachine } from '@cni-offload/linux/machine'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import type { LabNode } from '../../lab/model.ts'

const WITHIN_MS = 60_000
const LOOK_EVERY_MS = 100

/** Where the DPU daemon of a node writes down how its control agent is. */
export function recordOf({ agent }: LabNode): string {
  return agentRecordFile(join(dirname(agent.journal), HARDWARE_FOLDER, AGENT_PID_FILE))
}

/** How the control agent of a node's card is, as its DPU daemon says. */
export async function controlAgent(node: LabNode): Promise<AgentRecord> {
  const file = recordOf(node)
  const record = await readAgentRecord(localMachine(), file)
  if (record !== undefined) return record
  throw new OffloadError('NOT_FOUND', `${node.name}: its DPU daemon runs no control agent: there is no ${file}`)
}

/** Its process. @throws OffloadError NOT_READY while it is not ready */
export async function controlAgentPid(node: LabNode): Promise<number> {
  const record = await controlAgent(node)
  if (record.state === 'ready') return record.pid
  throw new OffloadError('NOT_READY', `${node.name}: the control agent is not ready: ${record.reasons.join('; then ')}`)
}

/**
 * Waits until something is so: neither the process of somebody else nor a daemon's STATUS raises an event.
 *
 * @returns milliseconds that it took
 * @throws OffloadError DEADLINE_EXCEEDED that says what was waited for
 */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<number> {
  const began = systemClock.monotonic()
  while (!(await isSo())) {
    if (systemClock.monotonic() - began > WITHIN_MS)
      throw new OffloadError('DEADLINE_EXCEEDED', `${what}: not within ${WITHIN_MS / 1000} s`)
    await systemClock.sleep(LOOK_EVERY_MS, AbortSignal.timeout(WITHIN_MS))
  }
  return systemClock.monotonic() - began
}
