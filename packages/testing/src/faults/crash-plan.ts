import { parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** Variable that names the file of the plan, for a process that was started with the preload module. */
export const CRASH_FILE_VARIABLE: string = 'OFFLOAD_CRASH_FILE'

/** At which step what happens to the process. */
export interface CrashPlan {
  /** Name of the step, such as `host.add.leased`. @defaultValue every step counts */
  readonly step?: string
  /** How often it must have been reached, from 1. @defaultValue 1 */
  readonly occurrence?: number
  /**
   * `kill` is SIGKILL: the process does not get to its next instruction. `stop` is SIGSTOP: it hangs there until it gets SIGCONT.
   *
   * @defaultValue 'kill'
   */
  readonly action?: 'kill' | 'stop'
}

/** A plan as it lies in the file: the id tells it from the one before. */
export interface FiledPlan extends CrashPlan {
  /** Differs for each plan. */
  readonly id: string
}

/** What a process says that a plan was made for, right before it is killed or stopped. */
export interface CrashReport {
  /** Id of the plan. */
  readonly id: string
  /** The step that it was at. */
  readonly step: string
  /** Its process. */
  readonly pid: number
}

const filedPlan: z.ZodType<FiledPlan> = z.strictObject({
  id: z.string(),
  step: z.string().exactOptional(),
  occurrence: z.number().int().min(1).exactOptional(),
  action: z.enum(['kill', 'stop']).exactOptional(),
})

const crashReport: z.ZodType<CrashReport> = z.strictObject({ id: z.string(), step: z.string(), pid: z.number().int() })

/** Reads a plan. @throws OffloadError INVALID_CONFIG */
export function parsePlan(text: string): FiledPlan {
  return parseWith(filedPlan, JSON.parse(text), 'crash plan', 'INVALID_CONFIG')
}

/** Reads a report. @throws OffloadError UNDECODABLE */
export function parseReport(text: string): CrashReport {
  return parseWith(crashReport, JSON.parse(text), 'crash report', 'UNDECODABLE')
}

/** Where the report on the plan in `file` is written. */
export function reportFile(file: string): string {
  return `${file}.report`
}
