import type { Machine } from '@cni-offload/linux/machine'
import type { Clock, Logger } from '@cni-offload/sdk'
import { readTurns, TurnMeter, TURNS_LOOK_MS } from './turns.ts'

/** With what the turns of an agent are watched. */
export interface TurnWatchDeps {
  /** The machine that it runs on. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Pause of its loop in each turn, milliseconds. */
  readonly pollMs: number
  /** Told why when it hangs. */
  readonly hangs: (reason: string) => void
}

/** Looks whether an agent that is ready goes on taking its turns. One that is not ready waits for something, and may take its time. */
export class TurnWatch {
  readonly #deps: TurnWatchDeps
  #stop = new AbortController()

  /** Nothing is watched yet. */
  constructor(deps: TurnWatchDeps) {
    this.#deps = deps
  }

  /** The agent is ready. */
  start(pid: number): void {
    this.stop()
    this.#stop = new AbortController()
    void this.#watch(pid, this.#stop.signal)
  }

  /** It is not any more, or it ends. */
  stop(): void {
    this.#stop.abort()
  }

  async #watch(pid: number, signal: AbortSignal): Promise<void> {
    const { machine, clock, log, pollMs, hangs } = this.#deps
    const meter = new TurnMeter(pollMs)
    try {
      while (!signal.aborted) {
        const turns = await readTurns(machine, pid)
        // What cannot be seen is no reason to end an agent.
        if (turns === undefined || signal.aborted) return
        const reason = meter.note(turns, clock.monotonic())
        if (reason !== undefined) return hangs(reason)
        await clock.sleep(TURNS_LOOK_MS, signal)
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, pid }, 'whether the control agent hangs cannot be seen any more')
    }
  }
}
