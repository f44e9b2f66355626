import type { Machine } from '@cni-offload/linux/machine'
import { pollUntil } from '@cni-offload/linux/machine'
import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { AGENT_PROGRAM } from '../control-agent/command-line.ts'
import { type ProcessEntry, processesBeside } from '../control-agent/process-table.ts'
import type { ControlPlane, ControlPlaneEvent } from './control-plane.ts'

/** A process that is no child of ours raises no event. Twenty looks fit into the time that the host waits for heartbeats. */
const LOOK_EVERY_MS = 1_000

/** Somebody else starts it at boot, after binding functions and reserving memory. */
const START_WITHIN_MS = 60_000

/** What a {@link ForeignAgent} is made of. */
export interface ForeignAgentDeps {
  /** The DPU. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/**
 * A control plane that somebody else runs, such as systemd: it is watched, never started or ended. Only whether its process is there can be
 * seen from outside; one that hangs after a reset of the host is for its supervisor to notice.
 */
export class ForeignAgent implements ControlPlane {
  readonly #deps: ForeignAgentDeps

  /** Nothing is looked at yet. */
  constructor(deps: ForeignAgentDeps) {
    this.#deps = deps
  }

  async start(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    const patience = { clock, signal, everyMs: LOOK_EVERY_MS, withinMs: START_WITHIN_MS }
    const found = await pollUntil(() => this.#process(), patience, `a process ${AGENT_PROGRAM}`)
    if (found !== undefined) return log.info({ pid: found.pid, command: found.argv.join(' ') }, 'the control agent runs')
    throw new OffloadError('NOT_READY', `no process ${AGENT_PROGRAM} runs on the DPU`, {
      hint: 'Start the unit that runs it, or leave that to this agent: controlAgent: { run: supervise }.',
    })
  }

  async *events(signal: AbortSignal): AsyncIterable<ControlPlaneEvent> {
    let was: ControlPlaneEvent['kind'] | undefined
    while (!signal.aborted) {
      const found = await this.#process()
      if (signal.aborted) return
      const now: ControlPlaneEvent =
        found === undefined ? { kind: 'lost', reason: `no process ${AGENT_PROGRAM} runs on the DPU` } : { kind: 'ready' }
      if (now.kind !== was) yield now
      was = now.kind
      await this.#deps.clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined)
    }
  }

  /** It is not ours to end. */
  async [Symbol.asyncDispose](): Promise<void> {}

  async #process(): Promise<ProcessEntry | undefined> {
    return (await processesBeside(this.#deps.machine, 'self')).find(({ comm }) => comm === AGENT_PROGRAM)
  }
}
