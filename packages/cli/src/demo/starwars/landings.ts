import { systemClock } from '@cni-offload/sdk'
import { type TcpOutcome, tcpProbe, type TcpTarget } from '@cni-offload/testing'
import type { Lab } from '../../lab/lab.ts'
import type { DemoCheck } from '../report.ts'
import { DEATHSTAR, EXHAUST_PORT, LANDING_PORT, type Member } from './cast.ts'

/** Whether the policy is in force. */
export type PolicyState = 'off' | 'on'

/** Agents learn of a policy a moment after it was applied, and a machine may be busy. */
const IN_FORCE_MS = 30_000

const WORDS: Readonly<Record<TcpOutcome, string>> = { answered: 'landed', refused: 'turned away', silent: 'no answer' }

/**
 * Has ships land on the deathstar, all at the same time, on both ports and in both families.
 *
 * @param when - begins the names of the checks
 * @param deathstar - its addresses
 */
export async function landingChecks(
  lab: Lab,
  fleet: readonly Member[],
  deathstar: readonly string[],
  policy: PolicyState,
  when: string,
): Promise<DemoCheck[]> {
  return await Promise.all(fleet.map((ship) => landing(lab, ship, deathstar, policy, when)))
}

async function landing(lab: Lab, ship: Member, deathstar: readonly string[], policy: PolicyState, when: string): Promise<DemoCheck> {
  const targets = [LANDING_PORT, EXHAUST_PORT].flatMap((port) => deathstar.map((address) => ({ address, port })))
  const expected = targets.map(({ port }): TcpOutcome => (mayLand(ship, port, policy) ? 'answered' : 'silent'))
  const deadline = systemClock.monotonic() + IN_FORCE_MS
  for (;;) {
    const seen = await tcpProbe(lab.podPath(ship.name), targets)
    const ok = seen.every((outcome, at) => outcome === expected[at])
    if (ok || systemClock.monotonic() > deadline)
      return { name: `${when}: ${ship.name} ${where(ship)} ${rule(ship, policy)}`, ok, seen: describe(targets, seen) }
  }
}

function mayLand({ role }: Member, port: number, policy: PolicyState): boolean {
  return policy === 'off' || (role === 'tiefighter' && port === LANDING_PORT)
}

function rule({ role }: Member, policy: PolicyState): string {
  if (policy === 'off') return 'lands on every port'
  return role === 'tiefighter' ? `lands on port ${LANDING_PORT} and no other` : 'lands on no port'
}

const where = ({ node }: Member): string => (node === DEATHSTAR.node ? 'from the same node' : 'from the other node')

function describe(targets: readonly TcpTarget[], seen: readonly TcpOutcome[]): string {
  return targets.map(({ address, port }, at) => `${port}/${address.includes(':') ? 'v6' : 'v4'} ${WORDS[seen[at] ?? 'silent']}`).join(', ')
}
