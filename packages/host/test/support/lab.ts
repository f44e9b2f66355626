import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { plugCard, softHost } from '@cni-offload/hw-soft'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type ConfiguredPlugin, type HostDevice, type Logger, silentLogger } from '@cni-offload/sdk'
import { fakePod, type FakePod, TestNetns, uniqueName } from '@cni-offload/testing'
import { createHost, type Host, type HostInspection, type HostLimits, type HostOptions } from '../../src/index.ts'
import { type Answer, cniFrame, request } from './call.ts'
import { FakeAgent } from './fake-agent.ts'

export interface LabOptions {
  readonly vfs?: number
  readonly limits?: Partial<HostLimits>
  /** Makes up PCI addresses for the VFs. */
  readonly pciBus?: string
  /** Wraps the hardware, to make it fail. */
  readonly device?: (device: HostDevice) => HostDevice
  /** Wraps the kernel, to make it fail. */
  readonly net?: (net: LinuxNet) => LinuxNet
  readonly agent?: FakeAgent
  readonly log?: Logger
  /** Name of the node, where certificates have to fit. */
  readonly node?: string
  /** Options of the daemon that are not as usual. */
  readonly host?: Partial<HostOptions>
}

/** A host with a real card in namespaces of its own, a real daemon behind a real socket, and an agent in memory. */
export class HostLab implements AsyncDisposable {
  readonly net: LinuxNet
  readonly hostNetns: TestNetns
  readonly dpuNetns: TestNetns
  readonly dir: string
  readonly agent: FakeAgent
  readonly vfs: number
  /** Cards of different nodes never collide, also when test files run at the same time. */
  readonly node: string
  readonly #options: LabOptions
  readonly #stack: AsyncDisposableStack
  host!: Host
  #stop = new AbortController()
  #running: Promise<void> = Promise.resolve()

  private constructor(
    net: LinuxNet,
    hostNetns: TestNetns,
    dpuNetns: TestNetns,
    dir: string,
    node: string,
    options: LabOptions,
    stack: AsyncDisposableStack,
  ) {
    this.net = net
    this.hostNetns = hostNetns
    this.dpuNetns = dpuNetns
    this.dir = dir
    this.node = node
    this.agent = options.agent ?? new FakeAgent()
    this.vfs = options.vfs ?? 2
    this.#options = options
    this.#stack = stack
  }

  static async make(options: LabOptions = {}): Promise<HostLab> {
    await using stack = new AsyncDisposableStack()
    const net = stack.use(createLinuxNet())
    const hostNetns = stack.use(await TestNetns.create(net, 'hst'))
    const dpuNetns = stack.use(await TestNetns.create(net, 'dpu'))
    const node = options.node ?? uniqueName('node')
    const dir = await mkdtemp(join(tmpdir(), 'host-'))
    stack.defer(() => rm(dir, { recursive: true, force: true }))
    await plugCard({ net, device: 'soft0', vfs: options.vfs ?? 2, node, hostNetns: hostNetns.path, dpuNetns: dpuNetns.path })
    return new HostLab(net, hostNetns, dpuNetns, dir, node, options, stack.move())
  }

  static async start(options: LabOptions = {}): Promise<HostLab> {
    const lab = await HostLab.make(options)
    try {
      await lab.startHost()
      return lab
    } catch (error) {
      await lab[Symbol.asyncDispose]()
      throw error
    }
  }

  get socket(): string {
    return join(this.dir, 'host.sock')
  }

  get journal(): string {
    return join(this.dir, 'state', 'journal.db')
  }

  async startHost(): Promise<void> {
    this.#stop = new AbortController()
    this.host = this.daemon()
    this.#running = this.host.run(this.#stop.signal)
    await Promise.race([this.host.listening, this.#running])
  }

  /** A daemon of this node that is not started. @param more - what is not as usual */
  daemon(more: Partial<HostOptions> = {}): Host {
    const soft = softHost({
      device: 'soft0',
      vfs: this.vfs,
      node: this.node,
      netns: this.hostNetns.path,
      dpuNetns: this.dpuNetns.path,
      pciBus: this.#options.pciBus,
    })
    const wrap = this.#options.device ?? ((device: HostDevice) => device)
    const hardware: ConfiguredPlugin<'host-device'> = {
      kind: 'host-device',
      name: 'soft',
      create: async (deps) => wrap(await soft.create(deps)),
    }
    const wrapNet = this.#options.net ?? ((net: LinuxNet) => net)
    return createHost(
      {
        node: this.node,
        socket: this.socket,
        stateDir: join(this.dir, 'state'),
        deviceInfoDir: join(this.dir, 'devinfo'),
        agent: { address: 'tcp://127.0.0.1:1', tls: { ca: '', cert: '', key: '' } },
        hardware,
        log: this.#options.log ?? silentLogger,
        metrics: '127.0.0.1:0',
        // What a test breaks is not to be put right behind its back.
        limits: { agentMs: 300, restartMs: 0, drainMs: 5_000, reconcileMs: 0, ...this.#options.limits },
        ...this.#options.host,
        ...more,
      },
      {
        net: wrapNet(this.net),
        netns: this.hostNetns.path,
        // Where a test names an agent's address, the daemon goes there by itself.
        ...(this.#options.host?.agent === undefined ? { agent: this.agent } : {}),
      },
    )
  }

  /** Tells the daemon to stop, and waits for it. */
  async stopHost(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async pod(name = 'web'): Promise<FakePod> {
    return fakePod({ net: this.net, name })
  }

  call(
    verb: string,
    pod: Pick<FakePod, 'path' | 'containerId' | 'identity'>,
    more: { env?: Record<string, string>; netconf?: object; signal?: AbortSignal; deadlineMs?: number; sinceMs?: number } = {},
  ): Promise<Answer> {
    const { namespace, name, uid } = pod.identity
    const env = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: pod.containerId,
      CNI_NETNS: pod.path,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
      CNI_PATH: '/opt/cni/bin',
      ...more.env,
    }
    return request(
      this.socket,
      {
        ...cniFrame(env, { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni', ...more.netconf }, more.deadlineMs),
        ...(more.sinceMs === undefined ? {} : { sinceMs: more.sinceMs }),
      },
      more.signal,
    )
  }

  async inspect(): Promise<HostInspection> {
    return JSON.parse((await request(this.socket, { v: 1, kind: 'inspect' })).output) as HostInspection
  }

  /** What is not as it was before the first ADD, as readable phrases; empty when nothing is left anywhere. */
  async remains(): Promise<string[]> {
    const { attachments, fallbacks, leases, queue } = await this.inspect()
    const links = await this.net.links(this.hostNetns.path)
    const named = new Map(links.map((link) => [link.name, link]))
    const wrong: string[] = []
    for (let index = 0; index < this.vfs; index++) {
      const link = named.get(`soft0v${index}`)
      if (link === undefined) wrong.push(`soft0v${index} is not at home`)
      else if (link.up || link.mtu !== 1500 || (await this.net.addresses(this.hostNetns.path, link.name)).length > 0)
        wrong.push(`${link.name} is not pristine`)
    }
    if (links.length !== this.vfs + 1) wrong.push(`links ${[...named.keys()].join()}`)
    wrong.push(...attachments.map(({ key }) => `attachment ${key.containerId}`), ...queue.map(({ reason }) => `queued: ${reason}`))
    wrong.push(...fallbacks.map(({ key, phase, failure }) => `fallback ${key.containerId} ${phase} ${failure ?? ''}`))
    wrong.push(...leases.filter(({ state }) => state !== 'free').map(({ vf, state }) => `${vf} ${state}`))
    wrong.push(...[...this.agent.attachments.keys()].map((key) => `agent has ${key}`))
    return wrong
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopHost().catch(() => {})
    await this.#stack.disposeAsync()
  }
}

/** Waits until a condition holds, looking again after each turn of the event loop and a short rest. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const until = performance.now() + 15_000
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
