import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import type { TlsFiles } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { cniName, OffloadError, parseWith, systemClock } from '@cni-offload/sdk'
import { shimPath } from '@cni-offload/shim/build'
import { FakeCluster } from '@cni-offload/testing/cilium'
import { ADDRESSES } from './addresses.ts'
import { prepareCilium, rebootCilium } from './cilium.ts'
import { isDaemon, startDaemon, stopDaemon } from './daemon-process.ts'
import { writeNodeConfig } from './daemon-config.ts'
import {
  type DaemonRole,
  isCilium,
  LAB_ADAPTERS,
  LAB_HARDWARE,
  LARGEST_NETWORKS,
  LARGEST_POOL,
  type LabCard,
  type LabExtra,
  type LabNetwork,
  type LabNode,
  type LabOptions,
  type LabProcess,
  type LabRole,
  type LabState,
  labState,
} from './model.ts'
import { prepareOcteon } from './octeon/card.ts'
import { type DpuDisk, hostRoot, newBoot, rebootDpu, rebootHost } from './reboot.ts'
import { buildTopology, DEVICES, labNames, labNamespaces, NETNS_DIR } from './topology.ts'

const NETWORK = 'podnet'

/**
 * A whole system on one Linux machine: nodes of a host and a DPU namespace each, an underlay between the DPUs, the host daemon
 * and the agent of every node as processes of their own. It outlives the process that made it; {@link Lab.open} finds it
 * again by its folder.
 */
export class Lab implements AsyncDisposable {
  /** What the lab is. */
  readonly state: LabState
  /** Its folder. */
  readonly dir: string
  readonly #net: LinuxNet
  #saved: Promise<void> = Promise.resolve()

  readonly #launch: NonNullable<LabOptions['launch']>

  private constructor(dir: string, state: LabState, net: LinuxNet, launch: LabOptions['launch'] = () => ({})) {
    this.dir = dir
    this.#launch = launch
    this.state = state
    this.#net = net
  }

  /**
   * Builds a lab and starts all its daemons. On failure nothing of it is left.
   *
   * @throws OffloadError ALREADY_EXISTS if the folder holds a lab, INVALID_CONFIG for options out of range, NOT_READY if a
   * daemon does not start
   */
  static async up(options: LabOptions): Promise<Lab> {
    const { nodes = 2, vfs = 8, pool = LARGEST_POOL, adapter = 'delegate', hardware = 'soft' } = options
    const networks: readonly LabNetwork[] = [{ name: NETWORK, adapter }, ...(options.networks ?? [])]
    checkOptions({ nodes, vfs, pool, adapter, hardware, networks })
    const progress = options.progress ?? (() => {})
    if (await readState(options.dir))
      throw new OffloadError('ALREADY_EXISTS', `${options.dir} holds a lab already`, {
        hint: 'end it with "lab down", or name another folder with --state',
      })
    const leftovers = await labNamespaces(options.prefix)
    if (leftovers.length > 0)
      throw new OffloadError('ALREADY_EXISTS', `network namespaces of another lab are there: ${leftovers.join(', ')}`, {
        hint: 'end that lab, or choose another --prefix',
      })
    const state: LabState = {
      prefix: options.prefix,
      adapter,
      hardware,
      vfs,
      network: NETWORK,
      networks,
      device: DEVICES[hardware],
      nodes: [],
    }
    const lab = new Lab(options.dir, state, createLinuxNet(), options.launch)
    try {
      progress('compiling the shim (once) …')
      const shim = await shimPath()
      progress(`building ${nodes} node(s): host and DPU namespaces, underlay, ${vfs} VFs each …`)
      await mkdir(options.dir, { recursive: true, mode: 0o700 })
      await lab.#save()
      await buildTopology(lab.#net, { prefix: options.prefix, nodes, networks, vfs, hardware })
      progress('issuing certificates …')
      const pki = join(options.dir, 'pki')
      await createAuthority({ dir: pki })
      for (let index = 1; index <= nodes; index++)
        state.nodes.push(await lab.#prepareNode({ index, pool, shim, pki, extra: options.extra ?? {}, pciBus: options.pciBus }))
      await lab.#save()
      progress('starting agents and host daemons …')
      await Promise.all(
        state.nodes.map(async (node) => {
          if (node.card !== undefined) await lab.#plug(node, node.card)
          if (node.cilium !== undefined) await lab.#start(node, 'cilium')
          await lab.#start(node, 'agent')
          await lab.#start(node, 'host')
        }),
      )
      await lab.#save()
      return lab
    } catch (error) {
      await lab.down()
      throw error
    }
  }

  /** Opens a lab that is there. @throws OffloadError NOT_FOUND if the folder holds none */
  static async open(dir: string): Promise<Lab> {
    const state = await readState(dir)
    if (state === undefined) throw new OffloadError('NOT_FOUND', `there is no lab in ${dir}`, { hint: 'make one with "lab up"' })
    return new Lab(dir, state, createLinuxNet())
  }

  /** A node by its number, from 1. @throws OffloadError NOT_FOUND */
  node(index: number): LabNode {
    const node = this.state.nodes[index - 1]
    if (node === undefined) throw new OffloadError('NOT_FOUND', `node ${index}: the lab has nodes 1 to ${this.state.nodes.length}`)
    return node
  }

  /** The processes that a node has, whether they run or not. */
  roles({ cilium }: LabNode): readonly LabRole[] {
    return cilium === undefined ? ['host', 'agent'] : ['host', 'agent', 'cilium']
  }

  /** A process of a node. @throws OffloadError NOT_FOUND for a cilium-agent where there is none */
  process(node: LabNode, role: LabRole): LabProcess {
    const found = node[role]
    if (found === undefined)
      throw new OffloadError('NOT_FOUND', `${node.name} has no cilium-agent: the adapter of this lab is "${this.state.adapter}"`, {
        hint: 'make one with "lab up --adapter cilium"',
      })
    return found
  }

  /** What the cilium-agents of all nodes learn pods and policies from. @throws OffloadError NOT_FOUND where there are none */
  get cluster(): FakeCluster {
    for (const node of this.state.nodes) this.process(node, 'cilium')
    return new FakeCluster(this.#clusterDir)
  }

  get #clusterDir(): string {
    return join(this.dir, 'cluster')
  }

  /** Path of the namespace of a node's host or DPU, in which a process of this role runs. */
  netns(node: LabNode, role: LabRole): string {
    return `${NETNS_DIR}/${role === 'host' ? node.hostNetns : node.dpuNetns}`
  }

  /** Whether a process of a node runs. @throws OffloadError NOT_FOUND for a cilium-agent where there is none */
  async running(node: LabNode, role: LabRole): Promise<boolean> {
    const { pid, config } = this.process(node, role)
    return await isDaemon(pid, config)
  }

  /** Ends a process of a node by a signal and waits until it is gone. @throws OffloadError NOT_FOUND as {@link running} */
  async kill(node: LabNode, role: LabRole, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const process = this.process(node, role)
    await stopDaemon(process.pid, process.config, signal)
    process.pid = null
    await this.#save()
  }

  /** Starts a process of a node that does not run, and waits until it serves. @throws OffloadError NOT_FOUND as {@link running} */
  async start(node: LabNode, role: LabRole): Promise<void> {
    if (await this.running(node, role)) return
    await this.#start(node, role)
    await this.#save()
  }

  /**
   * Reboots the DPU of a node: its agent is killed, its whole system is destroyed and set up anew, and the agent starts. The host
   * and its pods are not touched. A cilium-agent on the DPU goes and comes with it and has lost all its endpoints, as a real one.
   *
   * @param disk - whether what agent and adapters keep on the DPU's disk is still there afterwards
   * @returns milliseconds from the agent's end until it served again
   */
  async rebootDpu(node: LabNode, disk: DpuDisk = 'kept'): Promise<number> {
    this.#requireSoft('reboot dpu')
    await this.kill(node, 'agent')
    const began = systemClock.monotonic()
    if (node.cilium !== undefined) {
      await this.kill(node, 'cilium')
      await rebootCilium(node.dir, node.cilium)
    }
    await rebootDpu(this.#net, this.state, node, disk)
    if (node.cilium !== undefined) await this.start(node, 'cilium')
    await this.start(node, 'agent')
    return systemClock.monotonic() - began
  }

  /**
   * Reboots the host of a node: its daemon is killed, its whole system is destroyed with all pods that had a VF, and set up anew with
   * another boot id, and the daemon starts. The DPU is not touched; its agent may run or not.
   *
   * @returns milliseconds from the daemon's end until it served again
   */
  async rebootHost(node: LabNode): Promise<number> {
    this.#requireSoft('reboot host')
    await this.kill(node, 'host')
    const began = systemClock.monotonic()
    await rebootHost(this.#net, this.state, node)
    await this.start(node, 'host')
    return systemClock.monotonic() - began
  }

  #requireSoft(what: string): void {
    if (this.state.hardware === 'soft') return
    throw new OffloadError('INVALID_CONFIG', `${what}: the hardware of this lab is "${this.state.hardware}"`, {
      hint: 'a system is rebooted with the software card only: "lab up --hardware soft"',
    })
  }

  /** Makes the namespace of a pod; it goes with the lab at the latest. */
  async createPod(name: string): Promise<string> {
    return await this.#net.createNetns(this.podNetns(name))
  }

  /** Removes the namespace of a pod. */
  async deletePod(name: string): Promise<void> {
    await this.#net.deleteNetns(this.podNetns(name))
  }

  /** Path of the namespace of a pod. */
  podPath(name: string): string {
    return `${NETNS_DIR}/${this.podNetns(name)}`
  }

  /** Name of the namespace of a pod. */
  podNetns(name: string): string {
    return `${this.state.prefix}-pod-${name}`
  }

  /** Ends the daemons and removes every namespace, interface and file of the lab. Works on what is left of a broken one, too. */
  async down(): Promise<void> {
    // The host daemon first: it may still want to tell the agent something.
    for (const role of ['host', 'agent', 'cilium', 'card'] as const)
      await Promise.all(this.state.nodes.map((node) => stopDaemon(node[role]?.pid ?? null, node[role]?.config ?? '')))
    for (const name of await labNamespaces(this.state.prefix)) await this.#net.deleteNetns(name)
    await rm(this.dir, { recursive: true, force: true })
    await this.#net[Symbol.asyncDispose]()
  }

  /** Lets go of the lab without ending it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#net[Symbol.asyncDispose]()
  }

  async #prepareNode(input: {
    index: number
    pool: number
    shim: string
    pki: string
    extra: LabExtra
    pciBus: string | undefined
  }): Promise<LabNode> {
    const { index, pool, shim, pki, extra, pciBus } = input
    const names = labNames(this.state.prefix)
    const name = `node${index}`
    const dir = join(this.dir, name)
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const issue = (role: DaemonRole): Promise<TlsFiles> =>
      issueCertificate({ authority: pki, role, node: name, out: join(dir, `${role}-tls`) })
    const [host, agent] = await Promise.all([issue('host'), issue('agent')])
    await newBoot(dir)
    const cilium = isCilium(this.state.adapter) ? await prepareCilium({ dir, name, index, pool, cluster: this.#clusterDir }) : undefined
    const [hostNetns, dpuNetns] = [names.host(index), names.dpu(index)].map((netns) => `${NETNS_DIR}/${netns}`) as [string, string]
    const card =
      this.state.hardware === 'octeon'
        ? await prepareOcteon({ dir, hostNetns, dpuNetns, silicon: names.silicon(index), vfs: this.state.vfs })
        : undefined
    const paths = await writeNodeConfig({
      dir,
      name,
      index,
      networks: this.state.networks,
      pciBus,
      device: this.state.device,
      vfs: this.state.vfs,
      seed: names.host(index),
      pool,
      dpuNetns,
      proxyPrefix: names.proxyPrefix(index),
      tls: { host, agent },
      hostRoot: hostRoot(dir),
      ciliumSocket: cilium?.socket,
      card,
      extra,
    })
    return {
      name,
      index,
      dir,
      shim,
      netconf: paths.netconf,
      netconfs: paths.netconfs,
      env: { CNI_OFFLOAD_SOCKET: paths.socket },
      hostNetns: names.host(index),
      dpuNetns: names.dpu(index),
      socket: paths.socket,
      agentAddress: `tcp://${ADDRESSES.pf.agent}:${ADDRESSES.agentPort}`,
      host: {
        pid: null,
        config: paths.host,
        log: join(dir, 'host.log'),
        journal: join(paths.hostState, 'journal.db'),
        metrics: `http://${ADDRESSES.metrics.host}/metrics`,
      },
      agent: {
        pid: null,
        config: paths.agent,
        log: join(dir, 'agent.log'),
        journal: join(paths.agentState, 'journal.db'),
        metrics: `http://${ADDRESSES.metrics.agent}/metrics`,
      },
      cilium,
      card,
    }
  }

  async #start(node: LabNode, role: LabRole): Promise<void> {
    const process = this.process(node, role)
    const launch = role === 'cilium' ? {} : this.#launch(role, node.index)
    process.pid = await startDaemon({ role, netns: this.netns(node, role), config: process.config, log: process.log, launch })
  }

  async #plug(node: LabNode, card: LabCard): Promise<void> {
    card.pid = await startDaemon({ role: 'card', netns: this.netns(node, 'agent'), config: card.config, log: card.log })
  }

  /** One at a time: daemons may be ended and started side by side. */
  async #save(): Promise<void> {
    const file = join(this.dir, 'state.json')
    const write = async (): Promise<void> => {
      await writeFile(`${file}.tmp`, `${JSON.stringify(this.state, null, 2)}\n`)
      await rename(`${file}.tmp`, file)
    }
    this.#saved = this.#saved.then(write, write)
    await this.#saved
  }
}

function checkOptions(options: {
  nodes: number
  vfs: number
  pool: number
  adapter: string
  hardware: string
  networks: readonly { readonly name: string; readonly adapter: string }[]
}): void {
  const range = (name: string, value: number, max: number): void => {
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new OffloadError('INVALID_CONFIG', `--${name} ${value}: a whole number from 1 to ${max} is expected`)
  }
  const oneOf = (name: string, value: string, known: readonly string[]): void => {
    if (!known.includes(value)) throw new OffloadError('INVALID_CONFIG', `--${name} ${value}: one of ${known.join(', ')} is expected`)
  }
  range('nodes', options.nodes, 9)
  range('vfs', options.vfs, 250)
  range('pool', options.pool, LARGEST_POOL)
  oneOf('adapter', options.adapter, LAB_ADAPTERS)
  oneOf('hardware', options.hardware, LAB_HARDWARE)
  range('network: number of networks', options.networks.length, LARGEST_NETWORKS)
  options.networks.forEach(({ name, adapter }, at) => {
    oneOf(`network ${name}`, adapter, LAB_ADAPTERS)
    if (isCilium(adapter) && at > 0)
      throw new OffloadError(
        'INVALID_CONFIG',
        `--network ${name}=${adapter}: Cilium gives pods their default routes and so is the first network`,
        {
          hint: 'use --adapter cilium, and delegate or hello for the others',
        },
      )
    if (!cniName.safeParse(name).success || options.networks.findIndex((network) => network.name === name) !== at)
      throw new OffloadError('INVALID_CONFIG', `--network ${name}: a network name that no other network has is expected`)
  })
}

async function readState(dir: string): Promise<LabState | undefined> {
  const file = join(dir, 'state.json')
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  return text === undefined ? undefined : parseWith(labState, JSON.parse(text), file, 'INVALID_CONFIG')
}
