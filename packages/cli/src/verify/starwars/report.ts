import type { PlacedPod } from './deployment.ts'
import type { PolicyPhase } from './scenario.ts'

/** One thing that was tried. */
export interface StarwarsCheck {
  /** Policy that was in force. */
  readonly policy: PolicyPhase
  /** Name that does not change, within a policy. */
  readonly id: string
  /** What was tried. */
  readonly title: string
  /** What had to come of it. */
  readonly expected: string
  /** What came of it. */
  readonly seen: string
  /** Whether that is the same. */
  readonly ok: boolean
  /** What to look at; empty if nothing. */
  readonly remedy: string
}

/** What the demo has shown. */
export interface StarwarsReport {
  /** Namespace that it ran in. */
  readonly namespace: string
  /** Its pods. */
  readonly pods: readonly PlacedPod[]
  /** What was tried, in order. */
  readonly checks: readonly StarwarsCheck[]
  /** Whether all of it came as expected, and nothing is left that should not be. */
  readonly ok: boolean
  /** Whether the namespace is still there, because it was to be kept. */
  readonly kept: boolean
  /** Why it could not be removed; empty if it could. */
  readonly leftBecause: string
}

/** For people: where the pods are, a table of what was tried, and what to look at. */
export function starwarsText({ namespace, pods, checks, kept, leftBecause }: StarwarsReport): string {
  const rows = [
    ['', 'policy', 'check', 'expected', 'seen'],
    ...checks.map((check) => [check.ok ? 'ok' : 'FAIL', check.policy, check.title, check.expected, check.seen]),
  ]
  const failed = checks.filter(({ ok }) => !ok)
  return [
    ...pods.map(({ name, node, ip }) => `${name} on ${node}, ${ip}`),
    '',
    ...table(rows),
    '',
    ...failed.map(({ title, remedy }) => `${title}:\n  → ${remedy}`),
    ...(leftBecause === ''
      ? []
      : [`namespace ${namespace} could not be removed: ${leftBecause}\n  → kubectl delete namespace ${namespace}`]),
    `${checks.length - failed.length} of ${checks.length} as expected${kept ? `; namespace ${namespace} is kept` : ''}`,
  ].join('\n')
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
