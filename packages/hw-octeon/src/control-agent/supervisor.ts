import { errnoOf, localMachine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'
import { restartPause } from './backoff.ts'
import { type LaunchAgent, launchAgent } from './child.ts'
import { AGENT_PROGRAM, parseAgentCommand } from './command-line.ts'
import { type AgentEvent, EventHub } from './events.ts'
import { type LifeEnd, liveAgent } from './life.ts'
import { endEarlierAgents } from './orphans.ts'
import { writePidFile } from './pid-file.ts'
import { readProcess } from './process-table.ts'
import { AgentRecordFile, agentRecordFile } from './record.ts'
import { AgentStanding } from './standing.ts'
import type { SupervisorDeps, SupervisorOptions } from './supervisor-options.ts'

/** Whoever was of use for so long has not failed because of how it was started. */
const STABLE_MS = 60_000

/** What the agent's own configuration has: 20 heartbeats of one second. */
const WINDOW_MS = 20_000

/**
 * Runs the card's control agent and keeps it running: without it the host cannot use the card, and takes its interfaces down soon after
 * its last heartbeat. An agent that ends or hangs, silently or after the host was reset, is started again before that, as far as it depends on us; where
 * only a person can help, it gives up and says why.
 */
export class AgentSupervisor implements AsyncDisposable {
  readonly #deps: Required<Omit<SupervisorDeps, 'rebind'>> & Pick<SupervisorDeps, 'rebind'>
  readonly #options: Required<SupervisorOptions>
  readonly #hub = new EventHub<AgentEvent>()
  readonly #stop = new AbortController()
  readonly #usable = Promise.withResolvers<void>()
  readonly #record: AgentRecordFile
  readonly #standing: AgentStanding
  readonly #running: Promise<void>
  #pid: number | undefined

  private constructor(deps: SupervisorDeps, options: SupervisorOptions) {
    this.#deps = { machine: localMachine(), launch: launchAgent, signalProcess: sendSignal, ...deps }
    this.#options = { program: AGENT_PROGRAM, windowMs: WINDOW_MS, functions: 1, ...options }
    this.#usable.promise.catch(() => {})
    const { machine, clock, log } = this.#deps
    this.#record = new AgentRecordFile(machine, agentRecordFile(options.pidFile), log)
    this.#standing = new AgentStanding({ clock, log, hub: this.#hub, record: this.#record })
    this.#running = this.#run(this.#stop.signal)
  }

  /**
   * Ends what earlier supervisors have left, and starts the agent.
   *
   * @param signal - ends the agent, in the way in which it tells the host, and everything else; so does disposing
   */
  static start(deps: SupervisorDeps, options: SupervisorOptions, signal: AbortSignal): AgentSupervisor {
    const supervisor = new AgentSupervisor(deps, options)
    const stop = (): void => supervisor.#stop.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true, signal: supervisor.#stop.signal })
    if (signal.aborted) stop()
    return supervisor
  }

  /** Process of the agent; undefined while there is none. */
  get pid(): number | undefined {
    return this.#pid
  }

  /** Resolves when the host can use the card for the first time. @throws OffloadError why it was given up; the signal's reason */
  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, reject } = Promise.withResolvers<never>()
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([this.#usable.promise, promise])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** What happens from now on, until the signal aborts or there is nothing more to come. */
  events(signal: AbortSignal): AsyncIterable<AgentEvent> {
    return this.#hub.events(signal)
  }

  /** Ends the agent, and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the control agent is not supervised any more'))
    await this.#running
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      await this.#keepAlive(signal)
      this.#usable.reject(signal.reason)
      this.#hub.close()
      await this.#record.close(false)
    } catch (error) {
      const stopped = signal.aborted
      const failure = stopped
        ? OffloadError.from(signal.reason, 'CANCELLED')
        : OffloadError.from(error, 'HARDWARE_FAILURE', 'control agent')
      if (!stopped) {
        this.#deps.log.error({ err: failure, hint: failure.hint }, 'the control agent is given up')
        this.#standing.givenUp(failure)
      }
      this.#usable.reject(failure)
      this.#hub.close(stopped ? undefined : { kind: 'given-up', failure })
      await this.#record.close(!stopped)
    } finally {
      this.#stop.abort()
    }
  }

  async #keepAlive(signal: AbortSignal): Promise<void> {
    const { machine, signalProcess, clock, log } = this.#deps
    const { argv, program, pidFile, windowMs } = this.#options
    const earlier = { machine, argv, program, pidFile, signalProcess, clock, log }
    await this.#tried('an earlier control agent is still there', () => endEarlierAgents(earlier, signal), signal)
    for (let failures = 0; !signal.aborted;) {
      const end = await this.#live(signal)
      if (signal.aborted) return
      failures = end.readyMs >= STABLE_MS ? 1 : failures + 1
      const reason = `the control agent is gone: ${end.text}`
      this.#standing.lost(reason, { hint: end.hint, failures })
      if (end.lingering !== undefined) await this.#outlive(end.lingering, signal)
      if (end.remedy === 'give-up')
        throw new OffloadError('INVALID_CONFIG', `the control agent is of no use: ${end.text}`, { hint: end.hint })
      const rebound = end.remedy === 'rebind' && (await this.#rebind(signal))
      const pauseMs = restartPause(end.remedy === 'rebind' && !rebound ? 'retry-slowly' : end.remedy, failures, windowMs)
      log.warn({ why: end.text, hint: end.hint, failures, pauseMs }, 'the control agent is started again')
      this.#standing.lost(reason, { hint: end.hint, failures, pauseMs })
      await clock.sleep(pauseMs, signal)
    }
  }

  async #live(signal: AbortSignal): Promise<LifeEnd> {
    const { machine, clock, log, launch } = this.#deps
    const { argv, program, functions, pidFile } = this.#options
    const pollMs = parseAgentCommand(argv, program)?.pollMs ?? 1
    const began = async (pid: number): Promise<void> => {
      this.#pid = pid
      this.#standing.started()
      await this.#note(async () => {
        const entry = await readProcess(machine, pid)
        if (entry !== undefined) await writePidFile(machine, pidFile, entry)
      })
    }
    const changed = (pid: number, ready: boolean, reason: string): void => (ready ? this.#ready(pid) : this.#standing.lost(reason))
    const launched: LaunchAgent = async (command, onLine) =>
      await this.#tried(`the control agent ${command[0]} cannot be started`, () => launch(command, onLine), signal)
    try {
      const end = await liveAgent({ argv, functions, machine, pollMs, launch: launched, clock, log, began, changed }, signal)
      // One that is still there has to be found by the next supervisor.
      if (end.lingering === undefined) await this.#note(() => machine.remove(pidFile))
      return end
    } catch (error) {
      const errno = errnoOf(error)
      if (errno !== 'ENOENT' && errno !== 'EACCES') throw error
      throw new OffloadError('INVALID_CONFIG', `the control agent ${argv[0]} cannot be started: ${errno}`, {
        hint: 'install it (package oct-ep-target-cn10k of the SDK), or configure where it is',
        cause: error,
      })
    } finally {
      this.#pid = undefined
    }
  }

  /** Does something again and again, later each time, as long as what is in its way may pass by itself. */
  async #tried<T>(what: string, attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, log } = this.#deps
    for (let failures = 1; ; failures += 1) {
      try {
        return await attempt()
      } catch (error) {
        if (signal.aborted || !mayPass(error)) throw error
        const { message: why, hint = SHORTAGE } = OffloadError.from(error, 'IO_FAILURE')
        const pauseMs = restartPause('retry', failures, this.#options.windowMs)
        log.warn({ err: error, failures, pauseMs }, `${what}: it is tried again`)
        this.#standing.lost(`${what}: ${why}`, { hint, failures, pauseMs })
        await clock.sleep(pauseMs, signal)
      }
    }
  }

  /** Waits for the end of an agent that was killed and hangs in the kernel: it still has the mailbox. */
  async #outlive(lingering: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { machine } = this.#deps
    this.#standing.lost('the control agent does not end when it is killed', {
      hint: 'it hangs in the kernel: look at its log, reboot the card',
    })
    await Promise.race([lingering, aborted(signal)])
    signal.throwIfAborted()
    await this.#note(() => machine.remove(this.#options.pidFile))
  }

  /** The file only helps the next supervisor: an agent that runs is not ended for it. */
  async #note(change: () => Promise<void>): Promise<void> {
    const { log } = this.#deps
    await change().catch((error: unknown) =>
      log.warn({ err: error, pidFile: this.#options.pidFile }, 'the process of the control agent is not noted'),
    )
  }

  #ready(pid: number): void {
    this.#standing.ready(pid)
    this.#usable.resolve()
  }

  /** Whether it is worth a try at once. */
  async #rebind(signal: AbortSignal): Promise<boolean> {
    const { rebind, log } = this.#deps
    if (rebind === undefined) return false
    try {
      await rebind(signal)
      return true
    } catch (error) {
      signal.throwIfAborted()
      log.error({ err: error }, 'the functions of the control agent could not be bound to vfio-pci')
      return false
    }
  }
}

/** What the machine lacks at the moment: processes, memory, open files; a program that is being replaced. */
const SHORTAGES: readonly string[] = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ETXTBSY', 'EIO']

const SHORTAGE = 'the machine is short of processes, memory or open files: see its limits (ulimit, pids.max, TasksMax) and what uses it up'

/** Whether what is in the way may be gone after a while: a shortage, or a process that hangs in the kernel. */
function mayPass(error: unknown): boolean {
  return SHORTAGES.includes(errnoOf(error) ?? '') || (OffloadError.is(error) && error.code === 'DEADLINE_EXCEEDED')
}

function sendSignal(pid: number, signal: 'SIGINT' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It has ended since it was looked at.
    if (errnoOf(error) !== 'ESRCH') throw error
  }
}
