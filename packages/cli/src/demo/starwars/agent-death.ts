import { ERROR_CODES } from '@cni-offload/sdk'
import type { CniOutcome } from '../../lab/cni-runtime.ts'
import type { LabNode } from '../../lab/model.ts'
import { podPairs } from '../checks.ts'
import type { DemoCheck } from '../report.ts'
import { DEATHSTAR, type Member } from './cast.ts'
import type { Crew } from './crew.ts'
import { landingChecks } from './landings.ts'
import type { Stage } from '../stage.ts'
import { Traffic } from '../traffic.ts'

/** What the death of an agent is shown with. */
export interface AgentDeathStage extends Stage {
  /** Takes in who comes meanwhile. */
  readonly crew: Crew
  /** Ships that are there; the policy is in force. */
  readonly fleet: readonly Member[]
  /** Addresses of the deathstar. */
  readonly deathstar: readonly string[]
}

/** A pod that comes at the worst moment. */
const NEWCOMER: Member = { name: 'tiefighter-new', role: 'tiefighter', node: DEATHSTAR.node }

/**
 * Kills the cilium-agent of the deathstar's node in the middle of traffic: running pods and policies must not notice, new pods are
 * refused with the reason, and all is as before when it is back.
 */
export async function agentDeath(stage: AgentDeathStage): Promise<void> {
  const { lab, runtime, pods, report, say, crew, fleet, deathstar } = stage
  const node = lab.node(DEATHSTAR.node)
  await using traffic = await Traffic.start(
    lab,
    podPairs(pods).filter(({ from }) => from === pods[0]),
  )
  await crew.prepare(NEWCOMER)
  say(`kill -9 of cilium-agent on ${node.name} …`)
  await lab.kill(node, 'cilium')
  const [landings, status, add] = await Promise.all([
    landingChecks(lab, fleet, deathstar, 'on', 'agent killed'),
    runtime.attempt('STATUS', node, '', { cniVersion: '1.1.0' }),
    refusedAdd(stage, node),
  ])
  report(...landings, refusal(`STATUS of ${node.name} says so`, status), refusal('ADD of a new pod is refused', add))
  await lab.start(node, 'cilium')
  say(`cilium-agent on ${node.name} is back`)
  await crew.add(NEWCOMER)
  report(...(await landingChecks(lab, [...fleet, NEWCOMER], deathstar, 'on', 'agent back')))
  report(...(await traffic.end(`while cilium-agent of ${node.name} was killed and restarted`)))
}

/** What a runtime does with an ADD that fails: it follows with a DEL, which has to succeed whoever is away. */
async function refusedAdd({ runtime }: Stage, node: LabNode): Promise<CniOutcome> {
  const outcome = await runtime.attempt('ADD', node, NEWCOMER.name)
  await runtime.call('DEL', node, NEWCOMER.name)
  return outcome
}

/** Refused for later, with the name of who is missing. */
function refusal(what: string, { exitCode, json, stdout, ms }: CniOutcome): DemoCheck {
  const message = String(json?.['msg'] ?? stdout)
  const later = [ERROR_CODES.NOT_READY.cni, ERROR_CODES.AGENT_UNREACHABLE.cni] as readonly unknown[]
  return {
    name: `agent killed: ${what}`,
    ok: exitCode !== 0 && later.includes(json?.['code']) && message.includes('cilium-agent'),
    seen: `${(ms / 1000).toFixed(1)} s, code ${String(json?.['code'])}: ${message}`,
  }
}
