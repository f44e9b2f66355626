import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { CRASH_FILE_VARIABLE, type CrashPlan, type CrashReport, type FiledPlan, parseReport, reportFile } from './crash-plan.ts'

/**
 * Says when a process crashes: exactly at a named step, or at any one. The process has to be started with {@link CrashControl.launch};
 * from then on it can be told at any time, and one that is started after the crash does not crash again.
 */
export class CrashControl implements Disposable {
  readonly #file: string
  #armed: string | undefined

  /** @param file - path of the plan; its folder must be there, and each process that is controlled needs a file of its own */
  constructor(file: string) {
    this.#file = file
  }

  /** What the process has to be started with: arguments of Node and variables. */
  get launch(): { readonly execArgv: readonly string[]; readonly env: Readonly<Record<string, string>> } {
    return {
      execArgv: [`--import=${import.meta.resolve('@cni-offload/testing/faults/preload')}`],
      env: { [CRASH_FILE_VARIABLE]: this.#file },
    }
  }

  /** Makes a plan, in place of the one before. It counts from now on, also for a process that runs already. */
  arm(plan: CrashPlan): void {
    this.disarm()
    const filed: FiledPlan = { id: randomUUID(), ...plan }
    // At once or not at all: the process reads it at every step.
    writeFileSync(`${this.#file}.new`, JSON.stringify(filed))
    renameSync(`${this.#file}.new`, this.#file)
    this.#armed = filed.id
  }

  /** Takes the plan back. What has happened cannot be undone. */
  disarm(): void {
    rmSync(this.#file, { force: true })
    rmSync(reportFile(this.#file), { force: true })
    this.#armed = undefined
  }

  /** What the last plan led to; undefined as long as its step has not been reached. */
  report(): CrashReport | undefined {
    const file = reportFile(this.#file)
    if (!existsSync(file)) return undefined
    const report = parseReport(readFileSync(file, 'utf8'))
    return report.id === this.#armed ? report : undefined
  }

  /** Takes the plan back. */
  [Symbol.dispose](): void {
    this.disarm()
  }
}

/**
 * A plan that strikes at one of the next `within` steps, whichever it is.
 *
 * @param random - gives numbers from 0 to 1, below 1; {@link seededRandom} gives the same ones for the same seed
 * @param within - from 1
 */
export function randomPlan(random: () => number, within: number): CrashPlan {
  return { occurrence: 1 + Math.floor(random() * within) }
}
