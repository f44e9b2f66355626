import type { DaemonRole, Lab, LabNode, LabRole } from '@cni-offload/cli'
import { type Clock, OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { Calls } from './calls.ts'
import { describeKill, type PlannedKill } from './plan.ts'
import type { Random } from './random.ts'
import type { Survivors } from './survivors.ts'
import type { Tally } from './tally.ts'

/** Longest that a kill waits for ADDs to succeed, milliseconds: where none does, the moment is as good as any. */
const ADDS_MS = 3_000

/** What a {@link Killer} works with. */
export interface KillerDeps {
  /** The lab. */
  readonly lab: Lab
  /** Time. */
  readonly clock: Clock
  /** The calls, some of which are killed. */
  readonly calls: Calls
  /** Pods that must not notice. */
  readonly survivors: Survivors
  /** What happens. */
  readonly tally: Tally
  /** What is left to chance besides the plan: which shim, which pod. */
  readonly numbers: Random
  /** Told each kill, for people. */
  readonly progress: (text: string) => void
}

/** Carries out a plan, one kill after the other. */
export class Killer {
  readonly #deps: KillerDeps

  constructor(deps: KillerDeps) {
    this.#deps = deps
  }

  /** Kills until so many were killed or the signal aborts. All daemons run when it resolves. */
  async run(plan: Iterable<PlannedKill>, kills: number, signal: AbortSignal): Promise<void> {
    const { calls, clock, tally, progress } = this.#deps
    for (const planned of plan) {
      if (tally.killed >= kills || signal.aborted) return
      await calls.added(planned.afterAdds, deadline(signal, ADDS_MS))
      await clock.sleep(planned.afterMs, signal).catch(() => {})
      if (signal.aborted || !(await this.#carryOut(planned))) continue
      tally.kill(planned.victim)
      progress(`${tally.killed}: ${describeKill(planned)}`)
    }
  }

  /** @returns whether there was anybody to kill */
  async #carryOut({ victim, node: index, downMs, first }: PlannedKill): Promise<boolean> {
    const { lab, calls, numbers } = this.#deps
    const node = lab.node(index)
    if (victim === 'shim') return calls.killOne(node, numbers)
    const second: DaemonRole = first === 'host' ? 'agent' : 'host'
    await this.#restart(node, victim === 'both' ? [first, second] : [victim], downMs)
    return true
  }

  async #restart(node: LabNode, roles: readonly LabRole[], downMs: number): Promise<void> {
    const { lab, clock, survivors, numbers } = this.#deps
    // Both at the same moment: the lab waits for each one's end.
    for (const role of roles) {
      const { pid } = lab.process(node, role)
      if (pid !== null && (await lab.running(node, role))) process.kill(pid, 'SIGKILL')
    }
    for (const role of roles) await lab.kill(node, role)
    await survivors.check(node, `${roles.join(' and ')} being dead`, numbers)
    await clock.sleep(downMs, AbortSignal.timeout(2 * downMs + 1_000))
    for (const role of roles) await this.#start(node, role)
    await survivors.check(node, `${roles.join(' and ')} being back`, numbers)
  }

  /** A start that fails is told, and tried once more: what it leaves is of interest, too. @throws OffloadError NOT_READY */
  async #start(node: LabNode, role: LabRole): Promise<void> {
    const { lab, clock, tally } = this.#deps
    const began = clock.monotonic()
    await lab.start(node, role).catch(async (error: unknown) => {
      tally.defects.unexpected.push(`${role} of ${node.name} does not start: ${OffloadError.from(error).message}`)
      await lab.start(node, role)
    })
    tally.startMs[role].push(clock.monotonic() - began)
  }
}
