import { readFile } from 'node:fs/promises'
import { createLinuxNet, type LinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { formatVfId, OffloadError } from '@cni-offload/sdk'
import { decodeResult } from '@cni-offload/sdk/cni'
import { ciliumHoldings } from '../lab/audit/cilium.ts'
import { callCni, type CniOutcome } from '../lab/cni-runtime.ts'
import { findPorts, inspectNode } from '../lab/inspect.ts'
import { Lab } from '../lab/lab.ts'
import type { LabNode, LabOptions } from '../lab/model.ts'
import { labNamespaces } from '../lab/topology.ts'
import { counterChecks, hostChecks, pingChecks, podPairs, tcpChecks } from './checks.ts'
import { drawTopology } from './picture.ts'
import { type DemoCheck, type DemoPod, type DemoReport, latency, type Leaks } from './report.ts'

const PODS_PER_NODE = 2

/** Calls of the shim, timed by verb. */
class Runtime {
  readonly times: Record<'ADD' | 'CHECK' | 'DEL', number[]> = { ADD: [], CHECK: [], DEL: [] }
  readonly #lab: Lab

  constructor(lab: Lab) {
    this.#lab = lab
  }

  async call(verb: 'ADD' | 'CHECK' | 'DEL', node: LabNode, pod: string, netns: string, prevResult?: unknown): Promise<CniOutcome> {
    const netconf = JSON.parse(await readFile(node.netconf, 'utf8')) as Record<string, unknown>
    const outcome = await callCni(node.shim, this.#lab.netns(node, 'host'), {
      verb,
      containerId: `demo-${pod}`,
      netns,
      args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=${pod};K8S_POD_UID=uid-${pod}`,
      stdin: { ...netconf, ...(prevResult === undefined ? {} : { prevResult }) },
      env: node.env,
    })
    this.times[verb].push(outcome.ms)
    if (outcome.exitCode !== 0)
      throw new OffloadError('ADAPTER_FAILED', `${verb} of pod ${pod} on ${node.name}: ${outcome.stdout || outcome.stderr || 'no answer'}`)
    return outcome
  }
}

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
    const checks = await lookAtEverything(
      lab,
      net,
      pods.map(({ pod }) => pod),
      say,
    )
    for (const { node, pod, outcome } of pods) await runtime.call('CHECK', node, pod.name, lab.podPath(pod.name), outcome.json)
    report(checks, say, { name: 'CNI CHECK of every pod', ok: true, seen: `${pods.length} of ${pods.length}` })
    for (const { node, pod } of pods) await runtime.call('DEL', node, pod.name, lab.podPath(pod.name))
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
      const outcome = await runtime.call('ADD', node, name, await lab.createPod(name))
      const { ips } = decodeResult(outcome.json, '1.0.0')
      say(`ADD ${name} on ${node.name}: ${ips.map((ip) => ip.address).join(', ')} in ${outcome.ms.toFixed(1)} ms`)
      added.push({ node, name, outcome })
    }
  }
  const places = new Map(await Promise.all(lab.state.nodes.map(async (node) => [node, await placesOf(lab, net, node)] as const)))
  return added.map(({ node, name, outcome }) => {
    const place = places.get(node)?.get(`demo-${name}`)
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

async function lookAtEverything(lab: Lab, net: LinuxNet, pods: readonly DemoPod[], say: (text: string) => void): Promise<DemoCheck[]> {
  const checks: DemoCheck[] = []
  const pairs = podPairs(pods)
  for (const pair of pairs) report(checks, say, ...(await pingChecks(lab, pair)))
  const within = pairs.find(({ from, to }) => from.node === to.node)
  const across = pairs.find(({ from, to }) => from.node !== to.node)
  for (const pair of [within, across]) if (pair !== undefined) report(checks, say, ...(await tcpChecks(lab, pair)))
  report(checks, say, ...(await counterChecks(lab, net, pods)), ...(await hostChecks(lab, net, pods)))
  return checks
}

function report(checks: DemoCheck[], say: (text: string) => void, ...more: DemoCheck[]): void {
  checks.push(...more)
  for (const check of more) say(`${check.ok ? '✓' : '✗'} ${check.name}: ${check.seen}`)
}

async function leaksInside(lab: Lab, net: LinuxNet): Promise<Omit<Leaks, 'netns' | 'links'>> {
  let [vfs, ports, leases] = [0, 0, 0]
  for (const node of lab.state.nodes) {
    const { host, agent, ports: found } = await inspectNode(lab, net, node)
    if ('error' in host) throw new OffloadError('IO_FAILURE', host.error)
    if ('error' in agent) throw new OffloadError('AGENT_UNREACHABLE', agent.error)
    leases += host.attachments.length + host.leases.filter((lease) => lease.state !== 'free').length
    leases += (await ciliumHoldings(node)).length
    const pristine = (await net.links(lab.netns(node, 'host'))).filter((link) => link.name.startsWith(`${lab.state.device}v`) && !link.up)
    vfs += lab.state.vfs - pristine.length
    ports += agent.attachments.length + (lab.state.vfs - found.length)
  }
  return { vfs, ports, leases }
}

async function ownLinks(net: LinuxNet): Promise<string[]> {
  return (await net.links(OWN_NETNS)).map((link) => link.name)
}
