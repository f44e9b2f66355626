import { type Check, type CheckResult } from '../../src/doctor/check.ts'
import { runChecks } from '../../src/doctor/run.ts'

/** Runs checks with more time than any needs, even on a busy machine. */
export async function diagnose(checks: readonly Check[]): Promise<Readonly<Record<string, CheckResult>>> {
  const results = await runChecks(checks, { signal: AbortSignal.timeout(120_000), timeoutMs: 60_000 })
  return Object.fromEntries(results.map((result) => [result.id, result]))
}

/** What came of each check. */
export function states(results: Readonly<Record<string, CheckResult>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.values(results).map(({ id, state }) => [id, state]))
}
