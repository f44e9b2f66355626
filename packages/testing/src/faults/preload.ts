/**
 * Loaded by `--import` into a daemon before anything else: kills or stops the process at the step that a file names. The file is
 * read at each step, so that a test can decide while the daemon runs. `CrashControl` writes it and starts processes with it.
 */
import { subscribe } from 'node:diagnostics_channel'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { STEPS_CHANNEL } from '@cni-offload/sdk/runtime'
import { CRASH_FILE_VARIABLE, type CrashReport, type FiledPlan, parsePlan, reportFile } from './crash-plan.ts'

const file = process.env[CRASH_FILE_VARIABLE]
if (file !== undefined) {
  const seen = new Map<string, number>()
  subscribe(STEPS_CHANNEL, (step) => {
    const plan = readPlan(file)
    if (plan === undefined || (plan.step !== undefined && plan.step !== step)) return
    const count = (seen.get(plan.id) ?? 0) + 1
    seen.set(plan.id, count)
    if (count === (plan.occurrence ?? 1)) carryOut(file, plan, String(step))
  })
}

function readPlan(path: string): FiledPlan | undefined {
  try {
    return parsePlan(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** The plan goes before the process does: the one that is started next must not die of it again. */
function carryOut(path: string, { id, action }: FiledPlan, step: string): void {
  const report: CrashReport = { id, step, pid: process.pid }
  writeFileSync(`${path}.new`, JSON.stringify(report))
  rmSync(path)
  renameSync(`${path}.new`, reportFile(path))
  process.kill(process.pid, action === 'stop' ? 'SIGSTOP' : 'SIGKILL')
}
