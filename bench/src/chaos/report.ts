import { type AuditDifference, describeDifference, latency } from '@cni-offload/cli'
import type { DoubleLease } from './claims.ts'
import type { Tally } from './tally.ts'

/** What a run found out. */
export interface ChaosReport {
  /** What the plan followed from. */
  readonly seed: number
  /** Workers. */
  readonly ways: number
  /** Nodes. */
  readonly nodes: number
  /** Adapter. */
  readonly adapter: string
  /** How long pods were made and ended. */
  readonly seconds: number
  /** What happened. */
  readonly tally: Tally
  /** What two pods had at the same time. */
  readonly doubleLeases: readonly DoubleLease[]
  /** What is held afterwards and was not before, and the other way round. */
  readonly leaks: readonly AuditDifference[]
}

/** Lines of each kind of defect that are shown; the JSON file has all. */
const SHOWN = 20

/** Everything that must not happen and has, one sentence each. */
export function defectsOf({ tally, doubleLeases, leaks }: ChaosReport): Readonly<Record<string, readonly string[]>> {
  return {
    leaks: leaks.map(describeDifference),
    'double leases': doubleLeases.map(({ what, owner, second }) => `${what} of ${owner} was also given to ${second}`),
    'lost DELs': tally.defects.lostDels,
    'unexpected answers': tally.defects.unexpected,
    'pods without network': tally.defects.silent,
  }
}

/** Whether nothing has happened that must not. */
export function isClean(report: ChaosReport): boolean {
  return Object.values(defectsOf(report)).every((found) => found.length === 0)
}

/** The report for people. */
export function renderReport(report: ChaosReport): string {
  const { tally, seconds } = report
  const count = (what: Readonly<Record<string, number>>): string =>
    Object.entries(what)
      .map(([name, times]) => `${name} ${times}`)
      .join(', ')
  const verbs = [...tally.calls]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([verb, { ok, killed, refused, ms }]) => {
      const codes = [...refused].toSorted(([a], [b]) => a - b).map(([code, times]) => `, ${times} × code ${code}`)
      const speed = ms.length === 0 ? '' : `; p50 ${latency(ms).p50.toFixed(0)} ms, ${(ok / seconds).toFixed(1)} per second`
      return `  ${verb.padEnd(6)}${ok} succeeded, ${killed} killed${codes.join('')}${speed}`
    })
  const starts = (['host', 'agent', 'cilium'] as const).flatMap((role) => {
    const ms = tally.startMs[role]
    return ms.length === 0
      ? []
      : [`  ${role.padEnd(5)} serves again after p50 ${latency(ms).p50.toFixed(0)} ms, p99 ${latency(ms).p99.toFixed(0)} ms`]
  })
  const found = Object.entries(defectsOf(report)).flatMap(([name, all]) => [
    `${name.padEnd(22)}${all.length}`,
    ...all.slice(0, SHOWN).map((text) => `  ${text}`),
    ...(all.length > SHOWN ? [`  … ${all.length - SHOWN} more`] : []),
  ])
  return [
    `seed ${report.seed}, adapter ${report.adapter}, ${report.ways} workers on ${report.nodes} node(s), ${seconds.toFixed(0)} s`,
    `killed by SIGKILL: ${tally.killed} (${count(tally.kills)})`,
    ...starts,
    ...verbs,
    `  pods that ran through all of it answered ${tally.survivors.answered} of ${tally.survivors.asked} echo requests`,
    '',
    ...found,
  ].join('\n')
}

/** The report for programs. */
export function jsonReport(report: ChaosReport): object {
  const { tally, leaks: _leaks, doubleLeases: _doubles, ...rest } = report
  const calls = [...tally.calls].map(([verb, { ok, killed, refused, ms }]) => [
    verb,
    { ok, killed, refused: Object.fromEntries(refused), ...(ms.length === 0 ? {} : { ms: latency(ms) }) },
  ])
  const startMs = Object.entries(tally.startMs).flatMap(([role, ms]) => (ms.length === 0 ? [] : [[role, latency(ms)]]))
  return {
    ...rest,
    kills: tally.kills,
    calls: Object.fromEntries(calls),
    startMs: Object.fromEntries(startMs),
    survivors: tally.survivors,
    defects: defectsOf(report),
  }
}
