import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { type AgentFault, FAULT_HINTS, parseAgentLine } from '../../control-agent/log-line.ts'
import { AgentReadiness } from '../../control-agent/readiness.ts'
import { broken, fine, type OcteonFinding, unseen } from '../finding.ts'

const RESTART = 'End it by SIGINT and let it be started again; the host may then have to set its interface down and up.'

/** What the agent has printed last, of the first of these files that there is. */
export async function logFinding(machine: Machine, files: readonly string[]): Promise<OcteonFinding> {
  for (const file of files) {
    const text = await ifPresent(machine.read(file), ['ENOENT', 'EACCES'])
    if (text !== undefined) return agentLogFinding(file, text)
  }
  return unseen(
    `what it prints is in none of ${files.join(', ')}`,
    'See where it prints to: the log of the DPU daemon, or journalctl -u of its unit; "fw ready 1" has to be the last of that kind.',
  )
}

/** What a control agent has printed last, of the first physical function: one file may have several of its lives. */
export function agentLogFinding(file: string, text: string): OcteonFinding {
  let readiness = new AgentReadiness(1)
  let faults = new Set<AgentFault>()
  for (const line of text.split('\n').map(parseAgentLine)) {
    // The first that it prints without delay when it starts.
    if (line.kind === 'soc') [readiness, faults] = [new AgentReadiness(1), new Set()]
    if (line.kind === 'fault') faults.add(line.fault)
    readiness.note(line)
  }
  if (readiness.stuck !== undefined) return broken(file, readiness.stuck, RESTART)
  if (readiness.ready) return fine(`fw ready 1, in ${file}`)
  const [fault] = faults
  if (fault !== undefined) return broken(file, `it complains about: ${[...faults].join(', ')}`, FAULT_HINTS[fault])
  return broken(file, readiness.reason, 'If the host is not just booting: see the end of that file, and start it again.')
}
