import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { ProxyNamespace } from '@cni-offload/linux/splice'
import {
  type AttachRequest,
  type CniAdapter,
  type Clock,
  type OpContext,
  type PluginDeps,
  silentLogger,
  systemClock,
} from '@cni-offload/sdk'
import { PortBench, uniqueName } from '@cni-offload/testing'
import { FakeCiliumAgent, type FakeCiliumOptions, installFakeCiliumCni, NetnsDatapath, NO_LIMITS } from '@cni-offload/testing/cilium'
import { cilium, type CiliumOptionsInput } from '../src/index.ts'

/** Path of a real cilium-cni, for those who have one. */
export const REAL_CILIUM_CNI: string | undefined = process.env['CILIUM_CNI']

export const isRoot: boolean = process.getuid?.() === 0
export const NEEDS_ROOT = '(needs root: network namespaces)'

export const ctx = (signal: AbortSignal = AbortSignal.timeout(25_000)): OpContext => ({ signal, log: silentLogger })

type SpliceInput = Exclude<CiliumOptionsInput, { readonly mode: 'agent-api' }>

/** Ports with pods, a cilium-agent in the DPU's namespace, and the adapter over them. */
export class Lab implements AsyncDisposable {
  readonly net: LinuxNet
  readonly bench: PortBench
  readonly agent: FakeCiliumAgent
  readonly folder: string
  readonly prefix: string = uniqueName('px').slice(0, 15)
  readonly deps: PluginDeps
  #adapter: CniAdapter | undefined

  private constructor(net: LinuxNet, bench: PortBench, agent: FakeCiliumAgent, folder: string, clock: Clock) {
    this.net = net
    this.bench = bench
    this.agent = agent
    this.folder = folder
    this.deps = { log: silentLogger, clock, stateDir: join(folder, 'state') }
  }

  static async create(ports: number, options: Partial<FakeCiliumOptions> = {}): Promise<Lab> {
    const net = createLinuxNet()
    const folder = await mkdtemp(join(tmpdir(), 'cilium-'))
    const bench = await PortBench.create({ net, ports })
    const agent = new FakeCiliumAgent({
      socket: join(folder, 'cilium.sock'),
      datapath: new NetnsDatapath(net, bench.dpuNetns),
      limits: NO_LIMITS,
      anyPod: true,
      ...options,
    })
    await agent.start()
    return new Lab(net, bench, agent, folder, options.clock ?? systemClock)
  }

  get adapter(): CniAdapter {
    if (this.#adapter === undefined) throw new Error('not started')
    return this.#adapter
  }

  /** What the adapter is configured with in either mode. */
  get #common(): CiliumOptionsInput {
    return { socket: join(this.folder, 'cilium.sock'), proxyPrefix: this.prefix, netns: this.bench.dpuNetns, connectTimeoutMs: 0 }
  }

  /** Options of mode `agent-api`. */
  get agentApi(): CiliumOptionsInput {
    return { ...this.#common, mode: 'agent-api' }
  }

  /** Options of mode `agent-api` without a veth pair. */
  get overPorts(): CiliumOptionsInput {
    return { ...this.#common, mode: 'agent-api', device: 'port' }
  }

  /** Options of mode `splice` with a fake cilium-cni, or the real one that the variable CILIUM_CNI names. */
  async splice(more: Partial<SpliceInput> = {}): Promise<CiliumOptionsInput> {
    const plugin = REAL_CILIUM_CNI ?? (await installFakeCiliumCni(join(this.folder, 'bin')))
    const conflist = { cniVersion: '1.0.0', name: 'cilium', plugins: [{ type: 'cilium-cni' }] } as const
    return { ...this.#common, mode: 'splice', conflist, cniPath: [dirname(plugin), '/usr/lib/cni'], ...more }
  }

  configured(options: CiliumOptionsInput = {}): Promise<CniAdapter> {
    return cilium({ ...this.agentApi, ...options }).create(this.deps)
  }

  /** Starts the adapter, after disposing the one before: a restart. */
  async start(options: CiliumOptionsInput = {}): Promise<CniAdapter> {
    await this.stop()
    this.#adapter = await this.configured(options)
    await this.#adapter.start?.(
      this.bench.ports.map(({ port }) => port),
      ctx(),
    )
    return this.#adapter
  }

  async stop(): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    this.#adapter = undefined
  }

  /** The adapter's database is lost. */
  async forgetState(): Promise<void> {
    await rm(this.deps.stateDir, { recursive: true, force: true })
  }

  request(index: number, more: Partial<AttachRequest> = {}): AttachRequest {
    const { pod, port, vfMac } = this.at(index)
    return {
      key: pod.key('podnet'),
      pod: pod.identity,
      port,
      vfMac,
      netconf: {},
      runtimeConfig: {},
      cniArgs: {},
      flags: { ipsec: false },
      ...more,
    }
  }

  at(index: number): PortBench['ports'][number] {
    const found = this.bench.ports[index]
    if (found === undefined) throw new Error(`no port ${index}`)
    return found
  }

  proxy(index: number): ProxyNamespace {
    return new ProxyNamespace(this.net, this.at(index).port, { prefix: this.prefix, home: this.bench.dpuNetns, owner: 'test' })
  }

  /** Devices of endpoints that there are. */
  async devices(): Promise<string[]> {
    return (await this.net.links(this.bench.dpuNetns)).map(({ name }) => name).filter((name) => name.startsWith('lxc'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.agent[Symbol.asyncDispose]()
    // The ports go with the namespaces that they are in: moving them back first would only take time.
    for (const index of this.bench.ports.keys()) await this.net.deleteNetns(this.proxy(index).name)
    await this.bench[Symbol.asyncDispose]()
    await this.net[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
    const unknown = this.agent.undescribed()
    if (unknown.length > 0) throw new Error(`requests that a real agent would pass over in part: ${unknown.join('; ')}`)
  }
}
