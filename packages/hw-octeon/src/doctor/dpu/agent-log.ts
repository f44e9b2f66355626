import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { type AgentFault, FAULT_HINTS, parseAgentLine } from '../../control-agent/log-line.ts'
import { AgentReadiness } from '../../control-agent/readiness.ts'
import { broken, fine, type OcteonFinding, unseen } from '../finding.ts'

const RESTART = 'End it by SIGINT and let it be started again; the host may then have to set its interface down and up.'

/** Lines of the log of a unit that are asked for: each answer to the host is one. */
const LINES = 2000

/** What a control agent that systemd runs has printed last, as far as its journal has it. @param pid - the journal has several of its lives */
export async function journalFinding(machine: Machine, unit: string, pid: number, signal: AbortSignal): Promise<OcteonFinding> {
  const argv = ['journalctl', `--unit=${unit}`, `_PID=${pid}`, '--output=cat', '--no-pager', `--lines=${LINES}`] as const
  const outcome = await ifPresent(machine.run(argv, signal))
  const text = outcome?.exitCode === 0 ? outcome.stdout : ''
  // Where there is no journal, or it is too old to have what matters, nothing is proven.
  if (!/fw ready|LIB: init/.test(text)) return unseen(`the journal of ${unit} has nothing of process ${pid}`, `journalctl -u ${unit}`)
  return agentLogFinding(`journal of ${unit}`, text, `systemctl restart ${unit}`)
}

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

/**
 * What a control agent has printed last, of the first physical function: one file may have several of its lives.
 *
 * @param restart - how it is restarted
 */
export function agentLogFinding(file: string, text: string, restart: string = RESTART): OcteonFinding {
  let readiness = new AgentReadiness(1)
  let faults = new Set<AgentFault>()
  for (const line of text.split('\n').map(parseAgentLine)) {
    // The first that it prints without delay when it starts.
    if (line.kind === 'soc') [readiness, faults] = [new AgentReadiness(1), new Set()]
    if (line.kind === 'fault') faults.add(line.fault)
    readiness.note(line)
  }
  if (readiness.stuck !== undefined) return broken(file, readiness.stuck, restart)
  if (readiness.ready) return fine(`fw ready 1, in ${file}`)
  const [fault] = faults
  if (fault !== undefined) return broken(file, `it complains about: ${[...faults].join(', ')}`, FAULT_HINTS[fault])
  return broken(file, readiness.reason, 'If the host is not just booting: see the end of that file, and start it again.')
}
