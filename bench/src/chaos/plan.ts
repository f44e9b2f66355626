import { type DaemonRole, isCilium, type LabAdapter } from '@cni-offload/cli'
import { random } from './random.ts'

/** Who is killed: a daemon of a node, both at once, a shim in the middle of its call, or the cilium-agent of a DPU. */
export type Victim = 'host' | 'agent' | 'both' | 'shim' | 'cilium'

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

type Shares = readonly (readonly [Victim, number])[]

/** Of 100 kills so many are of the ones named. */
const SHARES: Shares = [
  ['host', 30],
  ['agent', 30],
  ['both', 10],
  ['shim', 30],
]

/** Likewise where there are cilium-agents. */
const SHARES_WITH_CILIUM: Shares = [
  ['host', 20],
  ['agent', 25],
  ['both', 10],
  ['shim', 20],
  ['cilium', 25],
]

/** The kills of a run, without end: nothing but a function of the seed, the number of nodes, and whether there are cilium-agents. */
export function* killPlan(seed: number, nodes: number, adapter: LabAdapter): Generator<PlannedKill, never, undefined> {
  const shares = isCilium(adapter) ? SHARES_WITH_CILIUM : SHARES
  const numbers = random(seed, 'plan')
  for (;;) {
    yield {
      victim: victimOf(shares, numbers.next() * 100),
      node: numbers.between(1, nodes),
      afterAdds: numbers.between(0, 4),
      afterMs: numbers.between(0, 120),
      downMs: numbers.chance(0.7) ? 0 : numbers.between(1, 1_500),
      first: numbers.chance(0.5) ? 'host' : 'agent',
    }
  }
}

const NAMES = { host: 'host', agent: 'agent', cilium: 'cilium-agent' } as const

/** One line for people. */
export function describeKill({ victim, node, afterAdds, afterMs, downMs, first }: PlannedKill): string {
  const when = `after ${afterAdds} ADDs and ${afterMs} ms`
  if (victim === 'shim') return `a shim of node${node} ${when}`
  const who = victim === 'both' ? `host and agent of node${node} at once, ${first} back first` : `${NAMES[victim]} of node${node}`
  return `${who} ${when}, down for ${downMs} ms`
}

function victimOf(shares: Shares, percent: number): Victim {
  let below = 0
  for (const [victim, share] of shares) {
    below += share
    if (percent < below) return victim
  }
  return 'shim'
}
