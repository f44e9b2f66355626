import type { DaemonRole } from '@cni-offload/cli'
import { random } from './random.ts'

/** Who is killed: a daemon of a node, both at once, or a shim in the middle of its call. */
export type Victim = 'host' | 'agent' | 'both' | 'shim'

/** One kill of a plan. */
export interface PlannedKill {
  /** Who. */
  readonly victim: Victim
  /** On which node, from 1. */
  readonly node: number
  /** How many ADDs succeed after the kill before, wherever, until it is time. */
  readonly afterAdds: number
  /** And how much longer it takes then, milliseconds: a call may be anywhere. */
  readonly afterMs: number
  /** How long the daemons stay dead, milliseconds. */
  readonly downMs: number
  /** Who is started first when both are dead. */
  readonly first: DaemonRole
}

/** Of 100 kills so many are of the ones named. */
const SHARES: readonly (readonly [Victim, number])[] = [
  ['host', 30],
  ['agent', 30],
  ['both', 10],
  ['shim', 30],
]

/** The kills of a run, without end: nothing but a function of the seed and the number of nodes. */
export function* killPlan(seed: number, nodes: number): Generator<PlannedKill, never, undefined> {
  const numbers = random(seed, 'plan')
  for (;;) {
    yield {
      victim: victimOf(numbers.next() * 100),
      node: numbers.between(1, nodes),
      afterAdds: numbers.between(0, 4),
      afterMs: numbers.between(0, 120),
      downMs: numbers.chance(0.7) ? 0 : numbers.between(1, 1_500),
      first: numbers.chance(0.5) ? 'host' : 'agent',
    }
  }
}

/** One line for people. */
export function describeKill({ victim, node, afterAdds, afterMs, downMs, first }: PlannedKill): string {
  const when = `after ${afterAdds} ADDs and ${afterMs} ms`
  if (victim === 'shim') return `a shim of node${node} ${when}`
  const who = victim === 'both' ? `host and agent of node${node} at once, ${first} back first` : `${victim} of node${node}`
  return `${who} ${when}, down for ${downMs} ms`
}

function victimOf(percent: number): Victim {
  let below = 0
  for (const [victim, share] of SHARES) {
    below += share
    if (percent < below) return victim
  }
  return 'shim'
}
