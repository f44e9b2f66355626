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
const TURNS = 'octeon.dpu.agent-turns'
const MISSED = /Missed \d+ heartbeats/

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
    what: 'everything on the DPU stands still',
    after: 'everything on the DPU had stood still',
    happens: async (stage) => await standstill(stage),
    // What the host's driver has missed it has missed, and it looks no longer until it is loaded anew.
    doctor: { named: [HEARTBEATS], told: { id: HEARTBEATS, text: MISSED } },
  },
  {
    what: 'octep_cp_agent hangs, and the host does not look any more',
    after: 'octep_cp_agent hung',
    happens: async (stage) => await hang(stage),
    doctor: { named: [HEARTBEATS], told: told(/without it: the control agent is gone: it hangs: its loop has stood still for 5 s$/) },
  },
]

/**
 * What can happen to the control plane of a card, in the middle of traffic: it is killed, the host resets the PCI link and it gets over
 * that or does not, the whole DPU stands still until the host gives the card up, and it hangs when the host's driver looks no longer. Pods
 * must not notice any of it, new ones come when it is back, and the doctor says what has happened, and nothing else.
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

/** The agent that looks after octep_cp_agent stands still as well, so that only the host can notice. @returns milliseconds of the standstill */
async function standstill(stage: CardStage): Promise<number> {
  const { node, card, report, usual } = stage
  const { pid: daemon } = node.agent
  if (daemon === null) throw new OffloadError('NOT_FOUND', `${node.name}: its DPU daemon does not run`)
  const stopped = [daemon, await controlAgentPid(node)]
  for (const pid of stopped) process.kill(pid, 'SIGSTOP')
  try {
    const missed: Diagnosis = { named: [HEARTBEATS, 'octeon.host.link'], told: { id: HEARTBEATS, text: MISSED } }
    const ms = await until('the host gives the card up', async () =>
      (await examine(node, card, false)).some(({ id, state }) => id === HEARTBEATS && state === 'fail'),
    )
    report({ name: 'standstill: the host gives the card up', ok: true, seen: `after ${(ms / 1000).toFixed(1)} s` })
    report(diagnosed('the doctor, standstill', await examine(node, card, false), missed, usual))
    const exitCode = await status(stage)
    report({ name: 'standstill: STATUS says that there is no network', ok: exitCode !== 0, seen: `exit code ${exitCode}` })
    return ms
  } finally {
    for (const pid of stopped.toReversed()) process.kill(pid, 'SIGCONT')
  }
}

async function hang(stage: CardStage): Promise<number> {
  const { node, card, report, usual } = stage
  return await another(node, async (pid) => {
    process.kill(pid, 'SIGSTOP')
    const hanging: Diagnosis = { named: [HEARTBEATS, TURNS], told: { id: TURNS, text: /: it hangs: / } }
    report(diagnosed('the doctor, hanging', await examine(node, card), hanging, usual))
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
