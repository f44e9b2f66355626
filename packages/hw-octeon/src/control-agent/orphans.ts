import type { Machine } from '@cni-offload/linux/machine'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { AGENT_PROGRAM, parseAgentCommand } from './command-line.ts'
import { readPidFile } from './pid-file.ts'
import { type ProcessEntry, processesBeside, readProcess, serviceOf } from './process-table.ts'

/** How long an agent may take to tell the host that it ends. */
export const STOP_MS = 5_000

/** A process that was killed ends at once, unless it hangs in the kernel. */
export const KILL_MS = 5_000

/** A process that is no child of ours raises no event when it ends. */
const LOOK_AGAIN_MS = 50

/** What {@link endEarlierAgents} works with. */
export interface EarlierAgents {
  /** The machine. */
  readonly machine: Machine
  /** The command that is about to be started. */
  readonly argv: readonly string[]
  /** Name of the program in it. */
  readonly program: string
  /** Where the last one was noted. */
  readonly pidFile: string
  /** Sends a signal. */
  readonly signalProcess: (pid: number, signal: 'SIGINT' | 'SIGKILL') => void
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/**
 * Ends control agents that an earlier supervisor has started and left: two of them would take the mailbox from each other. They are found
 * by the file that notes the last one, and among the processes of this network namespace by their configuration, unless another service of
 * systemd runs them.
 *
 * @returns how many there were
 * @throws OffloadError ALREADY_EXISTS if another one serves the same link that somebody else has started: it is not touched;
 * DEADLINE_EXCEEDED if one does not end even when it is killed; the signal's reason
 */
export async function endEarlierAgents(deps: EarlierAgents, signal: AbortSignal): Promise<number> {
  const { machine, argv, program, pidFile } = deps
  const own = parseAgentCommand(argv, program)
  const noted = await readPidFile(machine, pidFile)
  const beside = await processesBeside(machine, 'self')
  const ours: ProcessEntry[] = []
  for (const entry of beside) {
    const found = parseAgentCommand(entry.argv, program)
    if (noted?.pid === entry.pid && noted.started === entry.started) ours.push(entry)
    else if (found !== undefined && found.cfg === own?.cfg) {
      // Its unit would start it again at once, and the two would end each other's for ever.
      const service = await serviceOf(machine, entry.pid)
      if (service !== undefined && service !== (await serviceOf(machine, 'self'))) throw somebodyElses(entry, service)
      ours.push(entry)
    } else if (entry.comm === AGENT_PROGRAM && sameLink(parseAgentCommand(entry.argv)?.pem, own?.pem)) throw somebodyElses(entry)
  }
  for (const entry of ours) await end(deps, entry, signal)
  return ours.length
}

/** The oldest agents do not say which link: they take what there is. */
const sameLink = (one: string | undefined, other: string | undefined): boolean => one === undefined || other === undefined || one === other

function somebodyElses({ pid, argv }: ProcessEntry, service?: string): OffloadError {
  const of = service === undefined ? '' : ` of ${service}`
  return new OffloadError('ALREADY_EXISTS', `another control agent serves this card: process ${pid}${of}, ${argv.join(' ')}`, {
    hint: 'stop it where it is supervised (systemctl stop …; kill -INT), or let the backend watch it: controlAgent: { run: external, unit: … }',
  })
}

async function end({ machine, signalProcess, clock, log }: EarlierAgents, entry: ProcessEntry, signal: AbortSignal): Promise<void> {
  log.warn({ pid: entry.pid, argv: entry.argv }, 'ending a control agent of an earlier run')
  for (const [by, limitMs] of [['SIGINT', STOP_MS] as const, ['SIGKILL', KILL_MS] as const]) {
    signalProcess(entry.pid, by)
    const until = clock.monotonic() + limitMs
    while ((await readProcess(machine, entry.pid))?.started === entry.started && clock.monotonic() < until)
      await clock.sleep(LOOK_AGAIN_MS, signal)
    if ((await readProcess(machine, entry.pid))?.started !== entry.started) return
    log.warn({ pid: entry.pid, signal: by }, 'the control agent of an earlier run does not end')
  }
  throw new OffloadError('DEADLINE_EXCEEDED', `the control agent of an earlier run, process ${entry.pid}, does not end when it is killed`, {
    hint: 'it hangs in the kernel: look at its log, reboot the card',
  })
}
