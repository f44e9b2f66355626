import { OffloadError } from '@cni-offload/sdk'
import { aborted, deadline } from '@cni-offload/sdk/runtime'
import { type Check, type CheckResult, fail, type Finding, skipped } from './check.ts'

/** How checks are run. */
export interface RunOptions {
  /** Ends all of them. */
  readonly signal: AbortSignal
  /** Longest that one check may take, milliseconds. @defaultValue 15000 */
  readonly timeoutMs?: number
}

/**
 * Runs checks side by side, those with an `after` when the others are done. One that fails, throws or hangs does not keep the others
 * from being run.
 *
 * @returns what they found, in their order
 * @throws OffloadError INTERNAL when two have the same id or one comes after an id that is none of an earlier check; the signal's reason
 */
export async function runChecks(checks: readonly Check[], { signal, timeoutMs = 15_000 }: RunOptions): Promise<readonly CheckResult[]> {
  const results = new Map<string, Promise<CheckResult>>()
  for (const check of checks) {
    if (results.has(check.id)) throw new OffloadError('INTERNAL', `doctor: two checks have the id ${check.id}`)
    const before = (check.after ?? []).map((id) => {
      const earlier = results.get(id)
      if (earlier === undefined) throw new OffloadError('INTERNAL', `doctor: ${check.id} comes after ${id}, which is no earlier check`)
      return earlier
    })
    results.set(check.id, runWhenReady(check, before, deadlineOf(check, timeoutMs), signal))
  }
  const all = await Promise.all(results.values())
  signal.throwIfAborted()
  return all
}

const deadlineOf = (check: Check, timeoutMs: number): number => check.timeoutMs ?? timeoutMs

async function runWhenReady(
  check: Check,
  before: readonly Promise<CheckResult>[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<CheckResult> {
  const missing = (await Promise.all(before)).find(({ state }) => state === 'fail' || state === 'skipped')
  const { id, title } = check
  if (missing === undefined) return { id, title, ...(await runOne(check, timeoutMs, signal)) }
  return { id, title, ...skipped(`${missing.id} has to be in order first`), blockedBy: missing.id }
}

async function runOne(check: Check, timeoutMs: number, caller: AbortSignal): Promise<Finding> {
  const signal = deadline(caller, timeoutMs)
  try {
    // A check that does not listen to its signal must not hold up the others' results.
    return await Promise.race([Promise.resolve(check.run(signal)), aborted(signal).then(() => tooSlow(timeoutMs))])
  } catch (error) {
    if (signal.aborted) return tooSlow(timeoutMs)
    const failure = OffloadError.from(error)
    return fail('', failure.message, failure.hint ?? '')
  }
}

const tooSlow = (timeoutMs: number): Finding =>
  fail('', `nothing came of it within ${timeoutMs} ms`, 'Run it again; if it stays so, look at what this check asks.')
