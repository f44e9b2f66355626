import { TcpAnswerer } from '@cni-offload/testing'
import { agentDeath } from './agent-death.ts'
import { DEATHSTAR, EXHAUST_PORT, LANDING_PORT, POLICY, ships } from './cast.ts'
import { Crew } from './crew.ts'
import { encryptionChecks } from './encryption.ts'
import { landingChecks } from './landings.ts'
import type { Stage } from '../stage.ts'

/**
 * What Cilium is there for, after Cilium's own demo: a policy that lets the empire's ships land on the deathstar and keeps the others
 * out, whatever node they are on, and that holds while cilium-agent is killed and restarted. Nothing is left of it.
 */
export async function showStarWars(stage: Stage): Promise<void> {
  const { lab, report, say } = stage
  const fleet = ships(lab.state.nodes.length)
  const cast = [DEATHSTAR, ...fleet]
  say(`\nStar Wars: ${cast.map(({ name, node }) => `${name} on ${lab.node(node).name}`).join(', ')}`)
  report(...(await encryptionChecks(lab)))
  await using crew = new Crew(stage)
  for (const member of cast) await crew.prepare(member)
  const deathstar = await crew.add(DEATHSTAR)
  for (const ship of fleet) await crew.add(ship)
  await using _answers = await TcpAnswerer.start(lab.podPath(DEATHSTAR.name), [LANDING_PORT, EXHAUST_PORT])
  report(...(await landingChecks(lab, fleet, deathstar, 'off', 'no policy')))
  await lab.cluster.apply([POLICY])
  report(...(await landingChecks(lab, fleet, deathstar, 'on', 'policy')))
  await agentDeath({ ...stage, crew, fleet, deathstar })
  await lab.cluster.delete([POLICY])
  report(...(await landingChecks(lab, fleet, deathstar, 'off', 'policy taken back')))
}
