import type { Machine } from '@cni-offload/linux/machine'
import type { Clock, Logger } from '@cni-offload/sdk'
import { broken } from '../doctor/finding.ts'
import { parseAgentCommand } from './command-line.ts'
import type { AgentEvent } from './events.ts'
import { type AdoptedAgent, type AgentFinding, type AgentHealth, agentHealth } from './health.ts'
import { readTurns, TurnMeter } from './turns.ts'

/** The files of a process raise no event. Who looks each second leaves most of the host's 20 s to the restart. */
const LOOK_MS = 1_000

/** Its log takes a command: not each time. */
const LOG_EACH = 5

/** What {@link watchAgent} works with. */
export interface WatchAgentDeps {
  /** The machine that it runs on. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/**
 * Watches a control agent that somebody else runs, a unit of systemd mostly, until the signal aborts: nothing is started, and nothing is
 * ended. An agent that hangs is lost, and says so by a `reason` that its unit has to be restarted.
 *
 * @throws OffloadError or the system's error if the machine cannot be looked at
 */
export async function* watchAgent(
  { machine, clock, log }: WatchAgentDeps,
  agent: AdoptedAgent,
  signal: AbortSignal,
): AsyncGenerator<AgentEvent, void, undefined> {
  let known: { readonly identity: string; readonly lostAt: number | undefined } | undefined
  let complaint: AgentFinding | undefined
  let meter: { readonly of: string; readonly turns: TurnMeter } | undefined
  for (let turn = 0; !signal.aborted; turn += 1) {
    const look = (withLog: boolean): Promise<AgentHealth> => agentHealth(machine, agent, signal, withLog)
    let health = await look(turn % LOG_EACH === 0 || complaint?.check === 'log')
    // Of one that is new, all has to be known.
    if (identityOf(health) !== known?.identity) health = await look(true)
    const { process, findings } = health
    const identity = identityOf(health)
    if (process !== undefined && meter?.of !== identity)
      meter = { of: identity, turns: new TurnMeter(parseAgentCommand(process.argv)?.pollMs ?? 1) }
    const turns = process === undefined ? undefined : await readTurns(machine, process.pid)
    const hang = turns === undefined ? undefined : meter?.turns.note(turns, clock.monotonic())
    const hanging: AgentFinding | undefined =
      hang === undefined
        ? undefined
        : {
            check: 'turns',
            ...broken(`process ${process?.pid}`, hang, `systemctl kill --signal=SIGKILL ${agent.unit}, which starts it again`),
          }
    complaint = findings.find(({ state }) => state === 'fail') ?? hanging
    // One that was exchanged between two looks was gone, too: the host has lost what it had set.
    const exchanged = known !== undefined && known.lostAt === undefined && process !== undefined && identity !== known.identity
    // That there is none to begin with is told, too: whoever listens may have known one.
    if (known?.lostAt === undefined && (complaint !== undefined || exchanged)) {
      const reason =
        complaint === undefined ? 'the control agent was restarted' : `${complaint.seen}: ${complaint.why}: ${complaint.remedy}`
      log.error({ unit: agent.unit, reason }, 'the host cannot use the card')
      known = { identity: known?.identity ?? identity, lostAt: clock.monotonic() }
      yield { kind: 'lost', reason }
    }
    if (complaint === undefined && process !== undefined && (known === undefined || known.lostAt !== undefined)) {
      const { pid } = process
      const event: AgentEvent =
        known?.lostAt === undefined ? { kind: 'ready', pid } : { kind: 'back', pid, afterMs: clock.monotonic() - known.lostAt }
      log.info({ unit: agent.unit, pid }, 'the host can use the card')
      known = { identity, lostAt: undefined }
      yield event
    }
    await clock.sleep(LOOK_MS, signal).catch(() => {})
  }
}

const identityOf = ({ process }: AgentHealth): string => `${process?.pid} ${process?.started}`
