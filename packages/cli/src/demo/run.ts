import { createLinuxNet, type LinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { parseNote } from '@cni-offload/linux/function'
import { formatVfId, OffloadError } from '@cni-offload/sdk'
import { decodeResult } from '@cni-offload/sdk/cni'
import { ciliumHoldings } from '../lab/audit/cilium.ts'
import type { CniOutcome } from '../lab/cni-runtime.ts'
import { findPorts, inspectNode } from '../lab/inspect.ts'
import { Lab } from '../lab/lab.ts'
import { isCilium, type LabNode, type LabOptions } from '../lab/model.ts'
import { labNamespaces } from '../lab/topology.ts'
import { counterChecks, hostChecks, pingChecks, podPairs, tcpChecks } from './checks.ts'
import { drawTopology } from './picture.ts'
import { type DemoCheck, type DemoPod, type DemoReport, latency, type Leaks } from './report.ts'
import { showOcteon } from './octeon/show.ts'
import { CONTAINER_PREFIX, Runtime } from './runtime.ts'
import type { Stage } from './stage.ts'
import { showStarWars } from './starwars/show.ts'

const PODS_PER_NODE = 2

/**
 * The whole system once through: a lab is built, pods are added by the compiled shim as a runtime would, everything is
 * looked at, and all is taken down again.
 *
 * @returns what was found; `checks` and `leaks` say whether all is well
 */
export async function runDemo(options: LabOptions): Promise<DemoReport> {
  const say = options.progress ?? (() => {})
  await using net = createLinuxNet()
  const linksBefore = await ownLinks(net)
  const lab = await Lab.up(options)
  let found: Omit<DemoReport, 'leaks'> | undefined
  let leaks: Omit<Leaks, 'netns' | 'links'> | undefined
  try {
    const runtime = new Runtime(lab)
    const pods = await addPods(lab, net, runtime, say)
    const ports = new Map(await Promise.all(lab.state.nodes.map(async (node) => [node.name, await findPorts(net, lab, node)] as const)))
    say(
      `\n${drawTopology(
        lab.state,
        pods.map(({ pod }) => pod),
        ports,
      )}\n`,
    )
    const checks: DemoCheck[] = []
    const report = (...more: readonly DemoCheck[]): void => {
      checks.push(...more)
      for (const check of more) say(`${check.ok ? '✓' : '✗'} ${check.name}: ${check.seen}`)
    }
    const stage: Stage = { lab, runtime, pods: pods.map(({ pod }) => pod), report, say }
    await lookAtEverything(stage, net)
    for (const { node, pod, outcome } of pods) await runtime.call('CHECK', node, pod.name, outcome.json)
    report({ name: 'CNI CHECK of every pod', ok: true, seen: `${pods.length} of ${pods.length}` })
    if (isCilium(lab.state.adapter)) await showStarWars(stage)
    if (lab.state.hardware === 'octeon') await showOcteon(stage)
    for (const { node, pod } of pods) await runtime.call('DEL', node, pod.name)
    for (const { pod } of pods) await lab.deletePod(pod.name)
    leaks = await leaksInside(lab, net)
    found = {
      adapter: lab.state.adapter,
      nodes: lab.state.nodes.map(({ name, hostNetns, dpuNetns }) => ({ name, hostNetns, dpuNetns })),
      pods: pods.map(({ pod }) => pod),
      checks,
      latencyMs: { add: latency(runtime.times.ADD), check: latency(runtime.times.CHECK), del: latency(runtime.times.DEL) },
    }
  } finally {
    say('taking everything down …')
    await lab.down()
  }
  const after = {
    ...leaks,
    netns: (await labNamespaces(options.prefix)).length,
    links: (await ownLinks(net)).filter((name) => !linksBefore.includes(name)).length,
  }
  return { ...found, leaks: after }
}

interface RunningPod {
  readonly node: LabNode
  readonly pod: DemoPod
  readonly outcome: CniOutcome
}

async function addPods(lab: Lab, net: LinuxNet, runtime: Runtime, say: (text: string) => void): Promise<RunningPod[]> {
  const added: { node: LabNode; name: string; outcome: CniOutcome }[] = []
  for (const node of lab.state.nodes) {
    for (let i = 0; i < PODS_PER_NODE; i++) {
      const name = `${String.fromCharCode(97 + i)}${node.index}`
      await lab.createPod(name)
      const outcome = await runtime.call('ADD', node, name)
      const { ips } = decodeResult(outcome.json, '1.0.0')
      say(`ADD ${name} on ${node.name}: ${ips.map((ip) => ip.address).join(', ')} in ${outcome.ms.toFixed(1)} ms`)
      added.push({ node, name, outcome })
    }
  }
  const places = new Map(await Promise.all(lab.state.nodes.map(async (node) => [node, await placesOf(lab, net, node)] as const)))
  return added.map(({ node, name, outcome }) => {
    const place = places.get(node)?.get(`${CONTAINER_PREFIX}${name}`)
    if (place === undefined) throw new OffloadError('NOT_FOUND', `the agent of ${node.name} does not know pod ${name}`)
    const { ips, interfaces } = decodeResult(outcome.json, '1.0.0')
    const mac = interfaces.find((candidate) => candidate.sandbox !== undefined)?.mac ?? ''
    return { node, outcome, pod: { name, node: node.name, ips: ips.map((ip) => ip.address), mac, ...place } }
  })
}

/** VF and port of each container, as the agent tells them. */
async function placesOf(lab: Lab, net: LinuxNet, node: LabNode): Promise<Map<string, { vf: string; port: string }>> {
  const { agent } = await inspectNode(lab, net, node)
  if ('error' in agent) throw new OffloadError('AGENT_UNREACHABLE', agent.error)
  return new Map(agent.attachments.map(({ key, vf, port }) => [key.containerId, { vf: formatVfId(vf), port }]))
}

async function lookAtEverything({ lab, pods, report }: Stage, net: LinuxNet): Promise<void> {
  const pairs = podPairs(pods)
  for (const pair of pairs) report(...(await pingChecks(lab, pair)))
  const within = pairs.find(({ from, to }) => from.node === to.node)
  const across = pairs.find(({ from, to }) => from.node !== to.node)
  for (const pair of [within, across]) if (pair !== undefined) report(...(await tcpChecks(lab, pair)))
  report(...(await counterChecks(lab, net, pods)), ...(await hostChecks(lab, net, pods)))
}

async function leaksInside(lab: Lab, net: LinuxNet): Promise<Omit<Leaks, 'netns' | 'links'>> {
  const found = await Promise.all(lab.state.nodes.map((node) => leaksOfNode(lab, net, node)))
  const sum = (what: keyof (typeof found)[number]): number => found.reduce((all, leaks) => all + leaks[what], 0)
  return { vfs: sum('vfs'), ports: sum('ports'), leases: sum('leases') }
}

async function leaksOfNode(lab: Lab, net: LinuxNet, node: LabNode): Promise<Omit<Leaks, 'netns' | 'links'>> {
  const { host, agent, ports } = await inspectNode(lab, net, node)
  if ('error' in host) throw new OffloadError('IO_FAILURE', host.error)
  if ('error' in agent) throw new OffloadError('AGENT_UNREACHABLE', agent.error)
  const pristine = (await net.links(lab.netns(node, 'host'))).filter(({ alias, up }) => parseNote(alias)?.end === 'vf' && !up)
  const leased = host.leases.filter((lease) => lease.state !== 'free').length
  return {
    vfs: lab.state.vfs - pristine.length,
    ports: agent.attachments.length + (lab.state.vfs - ports.length),
    leases: host.attachments.length + leased + (await ciliumHoldings(node)).length,
  }
}

async function ownLinks(net: LinuxNet): Promise<string[]> {
  return (await net.links(OWN_NETNS)).map((link) => link.name)
}
