import { type Machine, pollUntil } from '@cni-offload/linux/machine'
import type { Clock } from '@cni-offload/sdk'
import { parseAgentCommand } from '../../control-agent/command-line.ts'
import type { ProcessEntry } from '../../control-agent/process-table.ts'
import { enoughTurns, readTurns } from '../../control-agent/turns.ts'
import { broken, fine, type OcteonFinding, unseen } from '../finding.ts'

/** A healthy agent shows in a tenth of a second that it is; a busy machine may take longer. */
const WITHIN_MS = 2_000
const LOOK_MS = 100

/** Whether the loop of a control agent goes on: one that hangs answers the host nothing, which the host may notice late or not at all. */
export async function turnFinding(
  machine: Machine,
  agents: readonly ProcessEntry[],
  clock: Clock,
  signal: AbortSignal,
): Promise<OcteonFinding> {
  const [agent] = agents
  const first = agent === undefined ? undefined : await readTurns(machine, agent.pid)
  if (agent === undefined || first === undefined) return unseen('no control agent runs, or the kernel does not tell how often it sleeps')
  const { pid } = agent
  const { turns: enough, withinMs } = enoughTurns(parseAgentCommand(agent.argv)?.pollMs ?? 1, WITHIN_MS)
  let taken = 0n
  const look = async (): Promise<bigint | undefined> => {
    taken = ((await readTurns(machine, pid)) ?? first) - first
    return taken >= enough ? taken : undefined
  }
  const patience = { clock, signal, everyMs: LOOK_MS, withinMs }
  if ((await pollUntil(look, patience, `turns of process ${pid}`)) !== undefined) return fine(`process ${pid} takes its turns`)
  return broken(
    `process ${pid} has taken ${taken} turns of its loop in ${withinMs / 1000} s, where ${enough} are few`,
    'it hangs: the host is answered nothing, and notices it only while its driver looks for heartbeats',
    `kill -KILL ${pid}: whoever runs it starts it again; the DPU daemon does that by itself after some seconds.`,
  )
}
