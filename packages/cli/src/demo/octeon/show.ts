import { octeonDpuChecks, octeonHostChecks } from '@cni-offload/hw-octeon'
import { OffloadError } from '@cni-offload/sdk'
import { connectFakeOcteonCard, connectFakeOcteonMachine } from '@cni-offload/testing/octeon'
import { runChecks } from '../../doctor/run.ts'
import type { CheckResult } from '../../doctor/check.ts'
import type { LabCard, LabNode } from '../../lab/model.ts'
import { controlAgentFolder } from '../../lab/octeon/card.ts'
import { connectDpu } from '../../lab/octeon/connect-dpu.ts'
import { podPairs } from '../checks.ts'
import type { DemoCheck } from '../report.ts'
import type { Stage } from '../stage.ts'
import { Traffic } from '../traffic.ts'
import { controlAgentPid, until } from './control-agent.ts'

const NEWCOMER = 'late'

/** What happens to the card is shown with. */
interface CardStage extends Stage {
  readonly node: LabNode
  readonly card: LabCard
}

/**
 * What can happen to the control plane of a card, in the middle of traffic: it is killed, the host resets the PCI link, and it hangs until the
 * host gives it up. Pods must not notice any of it, new ones come when it is back, and the doctor says what is wrong meanwhile.
 */
export async function showOcteon(stage: Stage): Promise<void> {
  const node = stage.lab.node(1)
  const { card } = node
  if (card === undefined) throw new OffloadError('INTERNAL', `${node.name} has no fake card`)
  const on: CardStage = { ...stage, node, card }
  stage.say(`\nThe control plane of the card of ${node.name}, octep_cp_agent, has a bad day`)
  stage.report(...(await doctor(on, 'before', [])))
  const pairs = podPairs(stage.pods).filter(({ from }) => from === stage.pods[0])
  for (const [what, happens] of [
    ['octep_cp_agent is killed', killed],
    ['the host resets the PCI link', linkReset],
    ['octep_cp_agent hangs', hung],
  ] as const) {
    await using traffic = await Traffic.start(stage.lab, pairs)
    stage.say(`${what} …`)
    await happens(on)
    stage.report(...(await traffic.end(`while ${what}`)))
  }
}

async function killed(stage: CardStage): Promise<void> {
  const { node } = stage
  const before = await pidOf(node)
  process.kill(before, 'SIGKILL')
  const ms = await until('another octep_cp_agent runs', async () => ![undefined, before].includes(await controlAgentPid(node)))
  await back(stage, 'octep_cp_agent was killed', ms)
}

async function linkReset(stage: CardStage): Promise<void> {
  await using card = await connectFakeOcteonCard(stage.card.socket)
  await card.perst()
  await back(stage, 'the PCI link was reset')
}

async function hung(stage: CardStage): Promise<void> {
  const { node, report } = stage
  const before = await pidOf(node)
  process.kill(before, 'SIGSTOP')
  try {
    const ms = await until('the host gives the card up', async () => (await status(stage)) !== 0)
    report({ name: 'hung: the host says that it has no card', ok: true, seen: `after ${(ms / 1000).toFixed(1)} s` })
    report(...(await doctor(stage, 'hung', ['octeon.host.heartbeats', 'octeon.host.link'])))
  } finally {
    process.kill(before, 'SIGKILL')
  }
  await back(stage, 'octep_cp_agent hung and was killed')
}

/** All is as before: a new pod comes, for which a runtime tries as long as it is told to try again. */
async function back({ node, runtime, report, lab }: CardStage, after: string, already = 0): Promise<void> {
  await lab.createPod(NEWCOMER)
  try {
    const ms = await until('a new pod comes', async () => {
      const { exitCode } = await runtime.attempt('ADD', node, NEWCOMER)
      if (exitCode !== 0) await runtime.call('DEL', node, NEWCOMER)
      return exitCode === 0
    })
    report({ name: `a new pod comes after ${after}`, ok: true, seen: `${((already + ms) / 1000).toFixed(1)} s` })
    await runtime.call('DEL', node, NEWCOMER)
  } finally {
    await lab.deletePod(NEWCOMER)
  }
}

/** Exit code of STATUS. */
async function status({ runtime, node }: CardStage): Promise<number | null> {
  return (await runtime.attempt('STATUS', node, '', { cniVersion: '1.1.0' })).exitCode
}

async function pidOf(node: LabNode): Promise<number> {
  const pid = await controlAgentPid(node)
  if (pid === undefined) throw new OffloadError('NOT_FOUND', `${node.name}: its agent has noted no octep_cp_agent`)
  return pid
}

/** The doctor on both sides finds exactly what is expected to be broken. */
async function doctor({ card, node }: CardStage, when: string, expected: readonly string[]): Promise<DemoCheck[]> {
  await using host = await connectFakeOcteonMachine(card.socket, 'host')
  await using dpu = await connectDpu(card.socket, controlAgentFolder(node.dir))
  const sides = { host: octeonHostChecks(host, {}), DPU: octeonDpuChecks(dpu, {}) }
  const found = await Promise.all(
    Object.entries(sides).map(async ([side, checks]) => ({
      side,
      results: await runChecks(checks, { signal: AbortSignal.timeout(60_000) }),
    })),
  )
  const broken = found.flatMap(({ results }) => results.filter(({ state }) => state === 'fail'))
  const missing = expected.filter((id) => !broken.some((result) => result.id === id))
  const ok = expected.length === 0 ? broken.length === 0 : missing.length === 0
  return [{ name: `the doctor, ${when}`, ok, seen: broken.length === 0 ? 'all is in order' : broken.map(told).join('; ') }]
}

const told = ({ id, seen, why }: CheckResult): string => `${id}: ${seen === '' ? why : seen}`
