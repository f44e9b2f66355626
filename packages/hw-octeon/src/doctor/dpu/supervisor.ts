import type { Machine } from '@cni-offload/linux/machine'
import { type AgentInterruption, readAgentRecord } from '../../control-agent/record.ts'
import { broken, fine, type OcteonFinding } from '../finding.ts'

/**
 * How the control agent is, as the DPU daemon that runs it has written it down: also what had happened before all was well again, which
 * nothing else shows any more.
 *
 * @param running - processes of control agents
 */
export async function supervisorFinding(machine: Machine, path: string, running: readonly number[]): Promise<OcteonFinding> {
  const record = await readAgentRecord(machine, path)
  if (record === undefined) return broken(`no ${path}`, 'no DPU daemon of cni-offload runs a control agent', 'Start the DPU daemon.')
  const { since } = record
  if (record.state === 'ready') {
    const { pid, before } = record
    const seen = `process ${pid}, ready since ${since}${before === undefined ? '' : `; ${told(before)}`}`
    return running.includes(pid)
      ? fine(seen)
      : broken(seen, 'there is no such process: the DPU daemon that ran it was killed', 'Start the DPU daemon.')
  }
  const why = record.reasons.join('; then ')
  const hint = record.hint ?? 'See the log of the DPU daemon.'
  if (record.state === 'given-up')
    return broken(`given up, not ready since ${since}`, why, `${hint}; then restart the DPU daemon: it does not try again by itself.`)
  const { retryAt, failures } = record
  const tried =
    failures === 0 ? '' : `, ${failures} starts in a row have failed${retryAt === undefined ? '' : `, the next is at ${retryAt}`}`
  return broken(`not ready since ${since}${tried}`, why, hint)
}

const told = ({ reasons, ms }: AgentInterruption): string => `before that ${ms} ms without it: ${reasons.join('; then ')}`
