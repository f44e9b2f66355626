import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import { createLinuxNet } from '@cni-offload/linux'
import { formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import { parseAllDocuments } from 'yaml'
import { askNode } from '../inspect/ask.ts'
import { parseQuery } from '../inspect/query.ts'
import { select } from '../inspect/select.ts'
import { inspectNode } from '../lab/inspect.ts'
import { Lab } from '../lab/lab.ts'
import { type LabAdapter, type LabHardware, type LabNetwork, type LabRole, LARGEST_POOL, type LabNode } from '../lab/model.ts'
import { show } from './inspect.ts'
import { adapterOption, count, hardwareOption, networkOption, requireRoot } from './options.ts'

interface Common {
  readonly state: string
  readonly json?: boolean
}

interface Up extends Common {
  readonly nodes: number
  readonly vfs: number
  readonly pool: number
  readonly prefix: string
  readonly adapter: LabAdapter
  readonly hardware: LabHardware
  readonly network: readonly LabNetwork[]
  readonly pciBus?: string
}

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

/** `offload lab …`. */
export function labCommand(): Command {
  const lab = new Command('lab').description('the whole system kept running, for hands-on work and for programs outside')
  const sub = (name: string, description: string): Command =>
    lab
      .command(name)
      .description(description)
      .addOption(new Option('--state <dir>', 'folder of the lab').default('.lab').argParser((text) => resolve(text)))
  sub('up', 'build a lab and start its daemons')
    .option('--nodes <n>', 'nodes', count, 2)
    .option('--vfs <n>', 'VFs per node', count, 8)
    .option('--pool <n>', 'addresses that pods of a node may get', count, LARGEST_POOL)
    .option('--prefix <text>', 'starts the names of all namespaces', 'olab')
    .addOption(adapterOption())
    .addOption(networkOption())
    .addOption(hardwareOption())
    .option('--pci-bus <domain:bus>', 'make up PCI addresses for the VFs, for example f000:00')
    .option('--json', 'print the nodes as JSON')
    .action(up)
  sub('down', 'end the daemons and remove everything').action(down)
  sub('status', 'which daemons run').option('--json', 'as JSON').action(status)
  sub('inspect', 'leases, attachments and ports of both sides, or all that is known of a pod')
    .argument('[what]', 'namespace/pod, a container id or its begin, or network/container/interface')
    .option('--json', 'as JSON')
    .option('--node <n>', 'one node only', count)
    .action(inspect)
  for (const verb of ['kill', 'start'] as const) {
    const command = sub(verb, verb === 'kill' ? 'end a daemon by a signal' : 'start a daemon that does not run')
      .argument('<daemon>', 'host, agent or cilium', labRole)
      .option('--node <n>', 'node', count, 1)
    if (verb === 'kill') command.option('--signal <name>', 'signal', 'SIGKILL').action(kill)
    else command.action(start)
  }
  for (const verb of ['apply', 'delete'] as const)
    sub(verb, `${verb === 'apply' ? 'tell the cilium-agents of' : 'take back'} pods and CiliumNetworkPolicies, as kubectl does`)
      .argument('<file>', 'manifests, YAML')
      .action((file: string, options: Common) => change(verb, file, options))
  sub('reboot', 'destroy the system of a DPU, under running pods, or of a host with its pods, and set it up anew')
    .argument('<what>', 'host or dpu', hostOrDpu)
    .option('--node <n>', 'node', count, 1)
    .option('--lose-disk', "lose what agent and adapters keep on the DPU's disk, too")
    .action(reboot)
  return lab
}

async function up(options: Up): Promise<void> {
  requireRoot('a lab')
  await using lab = await Lab.up({
    ...options,
    networks: options.network,
    dir: resolve(options.state),
    progress: options.json === true ? () => {} : say,
  })
  if (options.json === true) say(JSON.stringify({ nodes: lab.state.nodes.map((node) => describeNode(lab, node)) }, null, 2))
  else for (const node of lab.state.nodes) say(nodeText(lab, node))
}

async function down(options: Common): Promise<void> {
  requireRoot('a lab')
  const lab = await Lab.open(resolve(options.state)).catch((error: unknown) => {
    if (OffloadError.is(error) && error.code === 'NOT_FOUND') return undefined
    throw error
  })
  await lab?.down()
  say(lab === undefined ? 'there is no lab' : 'the lab is down')
}

async function status(options: Common): Promise<void> {
  await using lab = await Lab.open(resolve(options.state))
  const rows = await Promise.all(
    lab.state.nodes.flatMap((node) =>
      lab.roles(node).map(async (role) => {
        const { pid, log } = lab.process(node, role)
        return { node: node.name, daemon: role, pid, running: await lab.running(node, role), log }
      }),
    ),
  )
  if (options.json === true) say(JSON.stringify(rows, null, 2))
  else
    for (const row of rows) say(`${row.node} ${row.daemon.padEnd(6)} ${row.running ? `runs, pid ${row.pid}` : 'does not run'}   ${row.log}`)
  if (rows.some((row) => !row.running)) process.exitCode = 1
}

async function inspect(what: string | undefined, options: Common & { node?: number }): Promise<void> {
  requireRoot('inspecting a lab')
  const query = what === undefined ? undefined : parseQuery(what)
  await using lab = await Lab.open(resolve(options.state))
  await using net = createLinuxNet()
  const nodes = options.node === undefined ? lab.state.nodes : [lab.node(options.node)]
  if (query !== undefined) {
    const found = await Promise.all(nodes.map(async ({ socket }) => select(await askNode(socket), query)))
    if (!show(found, query, options.json === true)) process.exitCode = 1
    return
  }
  const found = await Promise.all(nodes.map((node) => inspectNode(lab, net, node)))
  if (options.json === true) return void say(JSON.stringify({ nodes: found }, null, 2))
  for (const { node, host, agent, ports } of found) {
    say(`${node}`)
    if ('error' in host) say(`  host daemon: ${host.error}`)
    else
      for (const lease of host.leases)
        say(`  VF ${lease.vf.padEnd(10)} ${lease.state}${lease.key === undefined ? '' : `  ${formatAttachmentKey(lease.key)}`}`)
    if ('error' in agent) say(`  agent: ${agent.error}`)
    else for (const { key, port, state } of agent.attachments) say(`  ${formatAttachmentKey(key)}: port ${port}, ${state}`)
    for (const port of ports)
      say(
        `  port ${port.port.padEnd(10)} of VF ${port.vf} in ${port.netns}: ${port.packets.fromHost} frames from the host, ${port.packets.toHost} to it`,
      )
  }
}

async function kill(role: LabRole, options: Common & { node: number; signal: NodeJS.Signals }): Promise<void> {
  requireRoot('ending a daemon')
  await using lab = await Lab.open(resolve(options.state))
  await lab.kill(lab.node(options.node), role, options.signal)
  say(`${role} of node${options.node} is gone`)
}

async function start(role: LabRole, options: Common & { node: number }): Promise<void> {
  requireRoot('starting a daemon')
  await using lab = await Lab.open(resolve(options.state))
  const node = lab.node(options.node)
  await lab.start(node, role)
  say(`${role} of ${node.name} runs, pid ${lab.process(node, role).pid}`)
}

async function change(verb: 'apply' | 'delete', file: string, options: Common): Promise<void> {
  await using lab = await Lab.open(resolve(options.state))
  const manifests = parseAllDocuments(await readFile(file, 'utf8')).map((document): unknown => document.toJS())
  for (const what of await lab.cluster[verb](manifests)) say(`${what} ${verb === 'apply' ? 'applied' : 'deleted'}`)
}

async function reboot(what: 'host' | 'dpu', options: Common & { node: number; loseDisk?: boolean }): Promise<void> {
  requireRoot(`rebooting a ${what === 'dpu' ? 'DPU' : 'host'}`)
  if (what === 'host' && options.loseDisk === true)
    throw new OffloadError('INVALID_CONFIG', '--lose-disk: what a host keeps on its disk is not lost with a reboot', {
      hint: 'Remove its stateDir yourself while its daemon does not run.',
    })
  await using lab = await Lab.open(resolve(options.state))
  if (what === 'host') {
    const tookMs = await lab.rebootHost(lab.node(options.node))
    return void say(`the host of node${options.node} is back without its pods, its daemon serves again after ${Math.round(tookMs)} ms`)
  }
  const tookMs = await lab.rebootDpu(lab.node(options.node), options.loseDisk === true ? 'lost' : 'kept')
  say(`the DPU of node${options.node} is back, its agent serves again after ${Math.round(tookMs)} ms`)
}

function hostOrDpu(text: string): 'host' | 'dpu' {
  if (text !== 'host' && text !== 'dpu') throw new OffloadError('INVALID_CONFIG', `reboot "${text}": host or dpu is expected`)
  return text
}

function labRole(text: string): LabRole {
  if (text !== 'host' && text !== 'agent' && text !== 'cilium')
    throw new OffloadError('INVALID_CONFIG', `daemon "${text}": host, agent or cilium is expected`)
  return text
}

function describeNode(lab: Lab, node: LabNode): object {
  return {
    name: node.name,
    shim: node.shim,
    netconf: node.netconf,
    netconfs: node.netconfs,
    env: node.env,
    hostNetns: node.hostNetns,
    dpuNetns: node.dpuNetns,
    socket: node.socket,
    agentAddress: node.agentAddress,
    adapter: lab.state.adapter,
    vfs: lab.state.vfs,
    journals: { host: node.host.journal, agent: node.agent.journal },
    pids: { host: node.host.pid, agent: node.agent.pid, cilium: node.cilium?.pid },
    metrics: { host: node.host.metrics, agent: node.agent.metrics },
    logs: { host: node.host.log, agent: node.agent.log, cilium: node.cilium?.log },
    configs: { host: node.host.config, agent: node.agent.config, cilium: node.cilium?.config },
    ciliumSocket: node.cilium?.socket,
  }
}

function nodeText(lab: Lab, node: LabNode): string {
  const env = Object.entries(node.env)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
  return [
    '',
    `${node.name}`,
    `  shim          ${node.shim}`,
    ...Object.entries(node.netconfs).map(([name, path]) => `  netconf       ${path} (network ${name})`),
    `  environment   ${env}`,
    `  host netns    ${node.hostNetns}      DPU netns ${node.dpuNetns}`,
    `  daemon socket ${node.socket}      agent ${node.agentAddress} (from the host netns)`,
    `  journals      ${node.host.journal}  ${node.agent.journal}`,
    `  pids          host ${node.host.pid}  agent ${node.agent.pid}${node.cilium === undefined ? '' : `  cilium ${node.cilium.pid}`}`,
    ...(node.cilium === undefined ? [] : [`  cilium-agent  ${node.cilium.socket} (a fake)`]),
    `  metrics       ${node.host.metrics} (host netns)  ${node.agent.metrics} (DPU netns)`,
    '  try it:       ip netns add mypod && \\',
    `    ${env} CNI_COMMAND=ADD CNI_CONTAINERID=mypod CNI_NETNS=/run/netns/mypod CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \\`,
    `    nsenter --net=${lab.netns(node, 'host')} ${node.shim} < ${node.netconf}`,
  ].join('\n')
}
