import { OffloadError } from '@cni-offload/sdk'
import { connectFakeOcteonCard } from '@cni-offload/testing/octeon'
import type { LabCard, LabNode } from '../../lab/model.ts'
import { podPairs } from '../checks.ts'
import type { Stage } from '../stage.ts'
import { Traffic } from '../traffic.ts'
import { controlAgent, controlAgentPid, until } from './control-agent.ts'
import { type Diagnosis, diagnosed, examine, warnings } from './doctor.ts'

const NEWCOMER = 'late'
const SUPERVISOR = 'octeon.dpu.agent-supervisor'
const HEARTBEATS = 'octeon.host.heartbeats'

/** What happens to the card is shown with. */
interface CardStage extends Stage {
  readonly node: LabNode
  readonly card: LabCard
  /** What the doctor says of the node before anything has happened. */
  readonly usual: ReadonlySet<string>
}

/** Something that happens to the control plane of a card. */
interface Disturbance {
  /** What. */
  readonly what: string
  /** The same when it has happened. */
  readonly after: string
  /** Makes it happen, and waits until the control agent is of use again. @returns milliseconds that it was not */
  readonly happens: (stage: CardStage) => Promise<number>
  /** What the doctor says when it is over: what had happened, and that all is well. */
  readonly doctor: Diagnosis
}

const told = (text: RegExp): NonNullable<Diagnosis['told']> => ({ id: SUPERVISOR, text })

const DISTURBANCES: readonly Disturbance[] = [
  {
    what: 'octep_cp_agent is killed',
    after: 'octep_cp_agent was killed',
    happens: async ({ node }) => await another(node, async (pid) => void process.kill(pid, 'SIGKILL')),
    doctor: { named: [], told: told(/without it: the control agent is gone: it was ended by SIGKILL$/) },
  },
  {
    what: 'the host resets the PCI link',
    after: 'the PCI link was reset',
    happens: async (stage) => await reset(stage),
    doctor: { named: [], told: told(/without it: the host is being reset$/) },
  },
  {
    what: 'the host resets the PCI link and octep_cp_agent does not get over it',
    after: 'octep_cp_agent did not get over a reset',
    happens: async (stage) => await another(stage.node, async () => await perst(stage, false)),
    doctor: {
      named: [],
      told: told(/the host is being reset; then the control agent is gone: it could not set up PCI link 0 again [^;]*$/),
    },
  },
  {
    what: 'octep_cp_agent hangs',
    after: 'octep_cp_agent hung and was killed',
    happens: async (stage) => await hung(stage),
    // What the host's driver has missed it has missed, until it is loaded anew.
    doctor: { named: [HEARTBEATS], told: told(/ended by SIGKILL$/) },
  },
]

/**
 * What can happen to the control plane of a card, in the middle of traffic: it is killed, the host resets the PCI link and it gets over
 * that or does not, and it hangs until the host gives it up. Pods must not notice any of it, new ones come when it is back, and the doctor
 * says what has happened, and nothing else.
 */
export async function showOcteon(stage: Stage): Promise<void> {
  const node = stage.lab.node(1)
  const { card } = node
  if (card === undefined) throw new OffloadError('INTERNAL', `${node.name} has no fake card`)
  stage.say(`\nThe control plane of the card of ${node.name}, octep_cp_agent, has a bad day`)
  const healthy = await examine(node, card)
  stage.report(diagnosed('the doctor, before', healthy, { named: [] }, warnings(healthy)))
  const on: CardStage = { ...stage, node, card, usual: warnings(healthy) }
  const pairs = podPairs(stage.pods).filter(({ from }) => from === stage.pods[0])
  for (const { what, after, happens, doctor } of DISTURBANCES) {
    await using traffic = await Traffic.start(stage.lab, pairs)
    stage.say(`${what} …`)
    const ms = await happens(on)
    await newcomer(on, after, ms)
    stage.report(diagnosed(`the doctor, after ${after}`, await examine(node, card), doctor, on.usual))
    stage.report(...(await traffic.end(`while ${what}`)))
  }
}

/** Does something to the control agent of a node that only another one helps against. @returns milliseconds until that is ready */
async function another(node: LabNode, harm: (pid: number) => Promise<void>): Promise<number> {
  const before = await controlAgentPid(node)
  await harm(before)
  return await until('another octep_cp_agent is ready', async () => {
    const record = await controlAgent(node)
    return record.state === 'ready' && record.pid !== before
  })
}

async function reset(stage: CardStage): Promise<number> {
  const { node } = stage
  const { since } = await controlAgent(node)
  await perst(stage, true)
  return await until('octep_cp_agent gets over a reset', async () => {
    const record = await controlAgent(node)
    return record.state === 'ready' && record.since !== since
  })
}

async function perst(stage: CardStage, comesBack: boolean): Promise<void> {
  await using card = await connectFakeOcteonCard(stage.card.socket)
  await card.perst(comesBack)
}

async function hung(stage: CardStage): Promise<number> {
  const { node, card, report, usual } = stage
  return await another(node, async (pid) => {
    process.kill(pid, 'SIGSTOP')
    try {
      const ms = await until('the host gives the card up', async () => (await status(stage)) !== 0)
      report({ name: 'hung: the host says that it has no card', ok: true, seen: `after ${(ms / 1000).toFixed(1)} s` })
      const missed: Diagnosis = { named: [HEARTBEATS, 'octeon.host.link'], told: { id: HEARTBEATS, text: /Missed \d+ heartbeats/ } }
      report(diagnosed('the doctor, hung', await examine(node, card), missed, usual))
    } finally {
      process.kill(pid, 'SIGKILL')
    }
  })
}

/** All is as before: a new pod comes, for which a runtime tries as long as it is told to try again. */
async function newcomer({ node, runtime, report, lab }: CardStage, after: string, already: number): Promise<void> {
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
