import type { CheckResult, CheckState } from './check.ts'

const MARKS: Readonly<Record<CheckState, string>> = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL', skipped: '  – ' }

/** Whether something is not in order, so that the command has to say so by its exit code. */
export function hasFailed(results: readonly CheckResult[]): boolean {
  return results.some(({ state }) => state === 'fail')
}

/** What was found, for people. */
export function reportText(results: readonly CheckResult[]): string {
  // What follows from another line says nothing more.
  const shown = results.filter(({ blockedBy }) => blockedBy === undefined)
  const width = Math.max(0, ...shown.map(({ id }) => id.length))
  return [...shown.flatMap((result) => lines(result, width)), '', summary(results)].join('\n')
}

function lines({ id, title, state, seen, why, remedy }: CheckResult, width: number): readonly string[] {
  const indent = ' '.repeat(width + 8)
  return [
    `${MARKS[state]}  ${id.padEnd(width)}  ${title}${seen === '' ? '' : `: ${seen}`}`,
    ...(why === '' ? [] : [`${indent}${why}`]),
    ...(remedy === '' ? [] : [`${indent}→ ${remedy}`]),
  ]
}

function summary(results: readonly CheckResult[]): string {
  const number = (state: CheckState): number => results.filter((result) => result.state === state).length
  const blocked = results.filter(({ blockedBy }) => blockedBy !== undefined).length
  const because = blocked === 0 ? '' : `, ${blocked} of them because of the others`
  return `${number('ok')} in order, ${number('warn')} to look at, ${number('fail')} not in order, ${number('skipped')} skipped${because}`
}
