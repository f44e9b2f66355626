import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAgent, type AgentLimits } from '@cni-offload/agent'
import { hello } from '@cni-offload/example-hello-adapter'
import { createHost, type HostInspection, type HostLimits } from '@cni-offload/host'
import { plugCard, softDpu, softHost } from '@cni-offload/hw-soft'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { createOffloadClient } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { type CniAdapter, type ConfiguredPlugin, formatAttachmentKey, silentLogger } from '@cni-offload/sdk'
import { STEPS_CHANNEL } from '@cni-offload/sdk/runtime'
import { fakePod, type FakePod, TestNetns, uniqueName } from '@cni-offload/testing'
import { FaultyApi } from '@cni-offload/testing/faults'
import { type Answer, cniFrame, request } from '../../packages/host/test/support/call.ts'

/** What is not as usual on a node. */
export interface NodeOptions {
  /** VFs of its card. @defaultValue 4 */
  readonly vfs?: number
  /** Wraps its adapter. */
  readonly adapter?: (adapter: CniAdapter) => CniAdapter
  /** State folders of its daemons. @defaultValue folders of its own */
  readonly hostState?: string
  readonly agentState?: string
  readonly hostLimits?: Partial<HostLimits>
  readonly agentLimits?: Partial<AgentLimits>
}

const NAME = 'faulty'

/**
 * Both daemons of a node in this process, with a real card and the adapter `hello` between real namespaces: their calls to each
 * other, and the adapter, can be tampered with.
 */
export class NodeInProcess implements AsyncDisposable {
  readonly net: LinuxNet
  readonly hostNetns: TestNetns
  readonly dpuNetns: TestNetns
  /** The way between host and agent. */
  readonly way: FaultyApi<ReturnType<typeof createOffloadClient>>
  /** What really holds the network, whatever the daemons are told. */
  readonly truth: () => CniAdapter
  readonly vfs: number
  readonly #socket: string
  readonly #stack: AsyncDisposableStack

  private constructor(
    of: Pick<NodeInProcess, 'net' | 'hostNetns' | 'dpuNetns' | 'way' | 'truth' | 'vfs'>,
    socket: string,
    stack: AsyncDisposableStack,
  ) {
    this.net = of.net
    this.hostNetns = of.hostNetns
    this.dpuNetns = of.dpuNetns
    this.way = of.way
    this.truth = of.truth
    this.vfs = of.vfs
    this.#socket = socket
    this.#stack = stack
  }

  static async up(options: NodeOptions = {}): Promise<NodeInProcess> {
    await using stack = new AsyncDisposableStack()
    const { vfs = 4 } = options
    const net = stack.use(createLinuxNet())
    const hostNetns = stack.use(await TestNetns.create(net, 'hst'))
    const dpuNetns = stack.use(await TestNetns.create(net, 'dpu'))
    const dir = await mkdtemp(join(tmpdir(), 'faults-'))
    stack.defer(() => rm(dir, { recursive: true, force: true }))
    const card = { device: 'soft0', vfs, node: uniqueName('n') }
    await plugCard({ net, ...card, hostNetns: hostNetns.path, dpuNetns: dpuNetns.path })
    await createAuthority({ dir: join(dir, 'ca') })
    const certificate = (role: 'host' | 'agent') => issueCertificate({ authority: join(dir, 'ca'), role, node: NAME, out: join(dir, role) })

    let made: CniAdapter | undefined
    const wrap = options.adapter ?? ((adapter: CniAdapter) => adapter)
    const plugin = hello({
      bridge: 'hello0',
      netns: dpuNetns.path,
      pools: { ipv4: { subnet: '10.88.0.0/24' }, ipv6: { subnet: 'fd00:88::/64' } },
    })
    const adapter: ConfiguredPlugin<'adapter'> = {
      kind: 'adapter',
      name: 'hello',
      create: async (deps) => wrap((made = await plugin.create(deps))),
    }
    const listen = `unix:${join(dir, 'agent.sock')}`
    const agent = createAgent({
      node: NAME,
      listen,
      stateDir: options.agentState ?? join(dir, 'agent-state'),
      tls: await certificate('agent'),
      hardware: softDpu({ ...card, netns: dpuNetns.path }),
      adapter,
      log: silentLogger,
      limits: { retryFirstMs: 50, retryMaxMs: 500, ...options.agentLimits },
    })
    await running(stack, agent)
    const client = stack.use(createOffloadClient({ address: listen, node: NAME, tls: await certificate('host') }))
    const way = new FaultyApi(client)
    const socket = join(dir, 'host.sock')
    const host = createHost(
      {
        node: NAME,
        socket,
        stateDir: options.hostState ?? join(dir, 'host-state'),
        deviceInfoDir: join(dir, 'devinfo'),
        agent: { address: listen, tls: { ca: '', cert: '', key: '' } },
        hardware: softHost({ ...card, netns: hostNetns.path, dpuNetns: dpuNetns.path }),
        log: silentLogger,
        limits: { resyncMs: 500, ...options.hostLimits },
      },
      { net, agent: way.api, netns: hostNetns.path },
    )
    await running(stack, host)
    const truth = (): CniAdapter => made ?? failed('there is no adapter')
    return new NodeInProcess({ net, hostNetns, dpuNetns, way, truth, vfs }, socket, stack.move())
  }

  async pod(name: string): Promise<FakePod> {
    return await fakePod({ net: this.net, name })
  }

  /** Calls the host daemon as the shim does. @param conf - laid over the netconf */
  async call(verb: string, pod: FakePod, conf: object = {}): Promise<Answer & { readonly json: Record<string, any> }> {
    const { namespace, name } = pod.identity
    const env = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: pod.containerId,
      CNI_NETNS: pod.path,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`,
      CNI_PATH: '/opt/cni/bin',
    }
    const answer = await request(this.#socket, cniFrame(env, { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni', ...conf }, 60_000))
    return { ...answer, json: (answer.output === '' ? {} : JSON.parse(answer.output)) as Record<string, any> }
  }

  /** Waits for as many resyncs, from their begin to their end. Nothing happens to calls any more. */
  async resyncs(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.way.use(({ method, occurrence }) => {
      if (method === 'resync' && occurrence > count) resolve()
      return undefined
    })
    await promise
  }

  /** Does something at a step of either daemon, once, while `work` runs. */
  async whenReached<T>(step: string, then: () => void, work: () => Promise<T>): Promise<T> {
    const strike = (reached: unknown): void => {
      if (reached !== step) return
      unsubscribe(STEPS_CHANNEL, strike)
      then()
    }
    subscribe(STEPS_CHANNEL, strike)
    try {
      return await work()
    } finally {
      if (unsubscribe(STEPS_CHANNEL, strike)) failed(`${step} was not reached`)
    }
  }

  async inspect(): Promise<HostInspection> {
    return JSON.parse((await request(this.#socket, { v: 1, kind: 'inspect' })).output) as HostInspection
  }

  /** What the adapter really holds. */
  async held(): Promise<string[]> {
    return (await this.truth().list({ signal: AbortSignal.timeout(20_000), log: silentLogger })).map(formatAttachmentKey)
  }

  /** What is not as it was before the first ADD, on both sides, as readable phrases. */
  async remains(): Promise<string[]> {
    const { attachments, leases, queue } = await this.inspect()
    const signal = AbortSignal.timeout(20_000)
    const atAgent = await this.way.api.list({ signal })
    const atAdapter = await this.held()
    const remembered = (await this.truth().remembered?.({ signal, log: silentLogger })) ?? []
    const links = await this.net.links(this.dpuNetns.path)
    const home = (await this.net.links(this.hostNetns.path)).map(({ name }) => name)
    return [
      ...attachments.map(({ key, phase }) => `host: ${phase} ${formatAttachmentKey(key)}`),
      ...leases.flatMap(({ vf, state }) => (state === 'free' ? [] : [`host: ${vf} is ${state}`])),
      ...queue.map(({ vf, reason }) => `host: ${vf} is queued, ${reason}`),
      ...Array.from({ length: this.vfs }, (_, index) => `soft0v${index}`).flatMap((vf) => (home.includes(vf) ? [] : [`${vf} is away`])),
      ...atAgent.map(({ key, state }) => `agent: ${state} ${formatAttachmentKey(key)}`),
      ...atAdapter.map((key) => `adapter: ${key}`),
      ...remembered.map(({ request: { key } }) => `adapter remembers ${formatAttachmentKey(key)}`),
      ...links.flatMap(({ name, master }) => (master === undefined ? [] : [`${name} is in a bridge`])),
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

/** Runs a daemon until the stack is disposed. */
async function running(
  stack: AsyncDisposableStack,
  daemon: { run(signal: AbortSignal): Promise<void>; listening: Promise<unknown> },
): Promise<void> {
  const stop = new AbortController()
  const run = daemon.run(stop.signal)
  stack.defer(async () => {
    stop.abort()
    await run
  })
  await Promise.race([daemon.listening, run])
}

function failed(why: string): never {
  throw new Error(why)
}
