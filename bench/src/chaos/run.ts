import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  auditDifferences,
  type AuditDifference,
  auditLab,
  auditStoppedLab,
  type Holding,
  Lab,
  type LabAdapter,
  rowHoldingsOfRunning,
} from '@cni-offload/cli'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { uniqueName } from '@cni-offload/testing'
import { Calls, must, type Pod } from './calls.ts'
import { Claims } from './claims.ts'
import { Killer } from './killer.ts'
import { killPlan } from './plan.ts'
import { random } from './random.ts'
import type { ChaosReport } from './report.ts'
import { Survivors, SURVIVORS_PER_NODE } from './survivors.ts'
import { Tally } from './tally.ts'
import { Worker } from './worker.ts'

/** How daemons are to be killed, and under what. */
export interface ChaosOptions {
  /** Kills in all. */
  readonly kills: number
  /** Longest that it goes on, seconds, however few were killed by then. */
  readonly seconds: number
  /** What the plan and all other choices follow from. */
  readonly seed: number
  /** Workers that make and end pods, over all nodes. */
  readonly ways: number
  /** Nodes of the lab. */
  readonly nodes: number
  /** Adapter of the lab. */
  readonly adapter: LabAdapter
  /** Folder that logs of the daemons are copied to at the end. @defaultValue they are not kept */
  readonly logs?: string
  /** Told what happens, for people. */
  readonly progress: (text: string) => void
  /** Ends it early; what was found out by then is reported, and nothing of it stays. */
  readonly signal?: AbortSignal
}

/** How long what was killed may take to put itself in order in the end, milliseconds. */
const SETTLE_MS = 90_000

/**
 * Has workers make and end pods in a lab of its own while daemons and shims are killed, and compares what is held afterwards with
 * what was held before.
 *
 * @throws OffloadError whatever keeps the lab from being made, or a daemon from being started again
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { nodes, ways, adapter } = options
  const dir = await mkdtemp(join(tmpdir(), 'cni-offload-chaos-'))
  const vfs = Math.ceil(ways / nodes) + SURVIVORS_PER_NODE
  await using net = createLinuxNet()
  // Few addresses, so that each one is soon given again; with PCI addresses VFs have device information files.
  const lab = await Lab.up({ dir, prefix: uniqueName('').slice(-6), nodes, vfs, pool: Math.min(2 * vfs, 253), adapter, pciBus: 'f000:00' })
  try {
    return await disturb(lab, net, options)
  } finally {
    if (options.logs !== undefined) await keepLogs(lab, options.logs)
    await lab.down()
    await rm(dir, { recursive: true, force: true })
  }
}

async function disturb(lab: Lab, net: LinuxNet, options: ChaosOptions): Promise<ChaosReport> {
  const { seed, kills, seconds, ways, nodes, progress } = options
  const tally = new Tally()
  const claims = new Claims()
  const calls = new Calls(lab, tally, options.signal)
  // What surrounds the run is not counted.
  const uncounted = new Calls(lab, new Tally())
  const before = await baseline(lab, net)

  const survivors = await Survivors.up(lab, uncounted, tally)
  await survivors.checkAll('before anything was killed')
  const began = systemClock.monotonic()
  const time = AbortSignal.timeout(seconds * 1_000)
  const until = options.signal === undefined ? time : AbortSignal.any([options.signal, time])
  const over = new AbortController()
  const workers: Worker[] = []
  const valid = ({ index }: { readonly index: number }): string[] => [
    ...workers.filter((_, id) => id % nodes === index - 1).flatMap((worker) => worker.valid),
    ...survivors.names(lab.node(index)),
  ]
  const anybody = survivors.address.bind(survivors)
  const deps = { lab, net, clock: systemClock, calls, claims, tally, anybody, valid }
  for (let id = 0; id < ways; id++) workers.push(new Worker(deps, id, lab.node((id % nodes) + 1), random(seed, `worker ${id}`)))
  const killer = new Killer({ lab, clock: systemClock, calls, survivors, tally, numbers: random(seed, 'killer'), progress })
  const churn = Promise.all(workers.map((worker) => worker.run(over.signal)))
  try {
    await Promise.race([killer.run(killPlan(seed, nodes, options.adapter), kills, until), churn])
  } finally {
    over.abort()
  }
  await churn
  const tookMs = systemClock.monotonic() - began
  progress('all pods are ended; waiting until everything is in order')
  await survivors.checkAll('in the end')
  await survivors.end(uncounted)
  const leaks = await settle(lab, net, before, (why) => tally.defects.unexpected.push(why))
  return {
    ...{ seed, ways, nodes, adapter: options.adapter, seconds: tookMs / 1_000 },
    tally,
    doubleLeases: claims.doubles,
    leaks,
  }
}

/** What is held when nothing is, once with the daemons running and once without. */
interface Baseline {
  readonly running: readonly Holding[]
  readonly stopped: readonly Holding[]
}

async function baseline(lab: Lab, net: LinuxNet): Promise<Baseline> {
  // What is made with the first pod of a node, or of a VF, and stays by design is no leak.
  await useEverything(lab, 'first')
  const running = await auditLab(lab, net)
  const stopped = await auditStoppedLab(lab, net)
  for (const role of ['agent', 'host'] as const) for (const node of lab.state.nodes) await lab.start(node, role)
  return { running, stopped }
}

/** Gives every VF of every node to a pod at the same time, and takes all back. @throws OffloadError NOT_READY if a call fails */
async function useEverything(lab: Lab, name: string): Promise<void> {
  const calls = new Calls(lab, new Tally())
  const pods = lab.state.nodes.flatMap((node) =>
    Array.from({ length: lab.state.vfs }, (_, at): Pod => ({ name: `${name}${node.index}n${at}`, node })),
  )
  const added = await Promise.allSettled(pods.map(async (pod) => [await lab.createPod(pod.name), await must(calls, 'ADD', pod)]))
  await Promise.all(pods.map(async (pod) => [await must(calls, 'DEL', pod), await lab.deletePod(pod.name)]))
  for (const outcome of added) if (outcome.status === 'rejected') throw outcome.reason
}

/**
 * Waits until nothing is held that was not before, looks into the journals then, and tells what is left.
 *
 * @param unusable - told why not every VF can be given to a pod again
 */
async function settle(lab: Lab, net: LinuxNet, before: Baseline, unusable: (why: string) => void): Promise<AuditDifference[]> {
  await quiet(lab, net, before)
  // Also: the port of a VF that was destroyed with a pod's namespace and plugged anew is prepared with its next attachment.
  await useEverything(lab, 'last').catch((error: unknown) => unusable(OffloadError.from(error).message))
  await quiet(lab, net, before)
  return auditDifferences(before.stopped, await auditStoppedLab(lab, net))
}

async function quiet(lab: Lab, net: LinuxNet, before: Baseline): Promise<void> {
  const deadline = systemClock.monotonic() + SETTLE_MS
  const queued = async (): Promise<boolean> => {
    const rows = await Promise.all(lab.state.nodes.map(rowHoldingsOfRunning))
    return rows.flat().some(({ kind }) => kind === 'queued clean-up')
  }
  const differs = async (): Promise<boolean> =>
    auditDifferences(before.running, await auditLab(lab, net)).some(({ kind }) => kind !== 'port') || (await queued())
  while ((await differs()) && systemClock.monotonic() < deadline) await systemClock.sleep(500, AbortSignal.timeout(5_000))
}

async function keepLogs(lab: Lab, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const node of lab.state.nodes)
    for (const role of lab.roles(node)) await copyFile(lab.process(node, role).log, join(to, `${node.name}-${role}.log`))
}
