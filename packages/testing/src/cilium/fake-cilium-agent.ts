import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { type Clock, OffloadError, systemClock } from '@cni-offload/sdk'
import { z } from 'zod'
import { type ApiDescription, describeApi, undescribed } from './api-description.ts'
import type { CiliumOperation, EndpointChangeRequest } from './api-model.ts'
import { type AgentStatus, DEFAULT_CONFIG, type FakeAgentConfig } from './daemon-view.ts'
import { type FakeDatapath, noDatapath } from './datapath.ts'
import { type FakeEndpoint, FakeEndpoints, ipsOf } from './endpoints.ts'
import { Faults } from './faults.ts'
import { type ApiAnswer, type ApiCall, type HandlerDeps, HANDLERS } from './handlers.ts'
import { ApiServer, type ServedRequest } from './http-server.ts'
import type { ClusterView } from './fake-cluster.ts'
import { DEFAULT_POOL, FakeIpam, type PodRanges } from './ipam.ts'
import { FakeIdentities, type FakeIdentity, type FakePodObject } from './labels.ts'
import { type FakePolicy, type PolicySubject, protectedAddresses } from './policy.ts'
import { type ApiLimit, DEFAULT_LIMITS, type LimitedGroup, RateLimit } from './rate-limit.ts'
import { type CiliumVersion, traitsOf } from './version.ts'

/** What a fake agent is made of; everything but the socket has a default. */
export interface FakeCiliumOptions {
  /** Path of its unix socket. */
  readonly socket: string
  /** File in which endpoints outlive a restart; beside the socket by default. */
  readonly stateFile?: string
  /** Release that it behaves as. The newest by default. */
  readonly version?: CiliumVersion
  /** Time. */
  readonly clock?: Clock
  /** Ranges of the pods; IPv6 ones end in `::`. Both families by default. */
  readonly ranges?: PodRanges
  /** Ranges of further pools by name, for the IPAM mode `multi-pool`; a pod's annotations choose one. None by default. */
  readonly pools?: Readonly<Record<string, PodRanges>>
  /** How many addresses of each range pods may have. All by default. */
  readonly poolSize?: number
  /** Name of the node that it believes to be on. `node-1` by default. */
  readonly nodeName?: string
  /** How it is configured. */
  readonly config?: Partial<FakeAgentConfig>
  /** Limits of its API; those of a stock agent by default. */
  readonly limits?: Readonly<Record<LimitedGroup, ApiLimit>>
  /** What moves packets; nothing by default. */
  readonly datapath?: FakeDatapath
  /** How long an endpoint takes to build, milliseconds. 0 by default. */
  readonly buildMs?: number
  /** Whether pods of any name are taken for pods of this node: for a fake without anybody who tells it of pods. */
  readonly anyPod?: boolean
  /** Told of its endpoints whenever they, their addresses or their labels are others than before. */
  readonly published?: (endpoints: readonly PolicySubject[]) => Promise<void>
}

type Checkpoint = readonly Pick<FakeEndpoint, 'id' | 'request'>[]

/** The requests were checked when they came. */
const checkpoint: z.ZodType<Checkpoint> = z.array(z.object({ id: z.number().int(), request: z.custom<EndpointChangeRequest>() }))

interface Run {
  readonly ipam: FakeIpam
  readonly endpoints: FakeEndpoints
  readonly deps: HandlerDeps
  readonly server: ApiServer
  readonly stop: AbortController
}

/**
 * A cilium-agent as far as its REST API tells: the same operations, texts and limits over a unix socket, and, with a datapath,
 * endpoints that really reach each other. It can be stopped, killed and started again; then it restores and drops endpoints by
 * the rules of the real one.
 */
export class FakeCiliumAgent implements AsyncDisposable {
  /** Path of the socket. */
  readonly socket: string
  /** Faults to come. */
  readonly faults: Faults = new Faults()
  /** Requests that were served, of earlier runs too. */
  readonly requests: ServedRequest[] = []
  /** Operations that are administratively disabled. */
  readonly disabled: Set<CiliumOperation> = new Set()
  /** What the agent says of itself. */
  health: AgentStatus['cilium'] = { state: 'Ok' }
  readonly #options: FakeCiliumOptions
  readonly #config: FakeAgentConfig
  readonly #clock: Clock
  readonly #datapath: FakeDatapath
  readonly #stateFile: string
  readonly #version: CiliumVersion
  readonly #description: ApiDescription
  readonly #nodeName: string
  readonly #pods = new Map<string, FakePodObject>()
  readonly #annotatedMacs = new Map<string, string>()
  readonly #identities = new FakeIdentities()
  #policies: readonly FakePolicy[] = []
  #elsewhere: readonly PolicySubject[] = []
  #published = ''
  #protecting: Promise<void> = Promise.resolve()
  #saving: Promise<void> = Promise.resolve()
  #ready: Promise<void> = Promise.resolve()
  #run: Run | undefined

  /** An agent that does not run yet. */
  constructor(options: FakeCiliumOptions) {
    this.#options = options
    this.socket = options.socket
    this.#config = { ...DEFAULT_CONFIG, ...options.config }
    this.#clock = options.clock ?? systemClock
    this.#datapath = options.datapath ?? noDatapath
    this.#stateFile = options.stateFile ?? `${options.socket}.state`
    this.#version = options.version ?? '1.20.2'
    this.#description = describeApi(this.#version)
    this.#nodeName = options.nodeName ?? 'node-1'
  }

  /** An agent that runs. */
  static async start(options: FakeCiliumOptions): Promise<FakeCiliumAgent> {
    const agent = new FakeCiliumAgent(options)
    await agent.start()
    return agent
  }

  /** Its endpoints; none while it does not run. */
  get endpoints(): readonly FakeEndpoint[] {
    return this.#run?.endpoints.all ?? []
  }

  /** Who holds which address; nobody while it does not run. */
  get allocations(): Readonly<Record<string, string>> {
    return this.#run?.ipam.allocations ?? {}
  }

  /**
   * Starts and restores the endpoints of earlier runs: those of pods of this node whose device is there.
   *
   * @param until - the agent stays busy with starting until it resolves
   * @throws OffloadError INVALID_CONFIG where the real agent would not start
   */
  async start(until?: Promise<void>): Promise<void> {
    const run = this.#prepare()
    await this.#datapath.start(run.ipam.routers)
    this.#run = run
    const ready = Promise.withResolvers<void>()
    this.#ready = ready.promise
    try {
      await run.server.start()
      await until
      await this.#restore(run.endpoints)
    } catch (error) {
      await this.stop()
      throw error
    }
    ready.resolve()
  }

  /** Ends. Endpoints go on forwarding. @param options - whether the socket's file stays, as after a crash */
  async stop({ leaveSocket = false }: { readonly leaveSocket?: boolean } = {}): Promise<void> {
    const run = this.#run
    this.#run = undefined
    run?.stop.abort(new OffloadError('CANCELLED', 'the fake agent ends'))
    await run?.server.stop(leaveSocket)
    run?.ipam[Symbol.dispose]()
    await this.#saving
  }

  /** The agent learns of a pod, or of changes of one. @param mac - that an annotation of the pod asks for */
  async addPod(pod: FakePodObject, mac?: string): Promise<void> {
    const name = `${pod.namespace}/${pod.name}`
    this.#pods.set(name, pod)
    if (mac !== undefined) this.#annotatedMacs.set(name, mac)
    await this.#protect()
  }

  /** A pod is gone from the API server. */
  async removePod(namespace: string, name: string): Promise<void> {
    this.#pods.delete(`${namespace}/${name}`)
    await this.#protect()
  }

  /** These policies are in force from when it resolves; earlier ones are not any more. */
  async setPolicies(policies: readonly FakePolicy[]): Promise<void> {
    this.#policies = policies
    await this.#protect()
  }

  /** What there is in the cluster is this, and nothing of what was told before. In force from when it resolves. */
  async learn({ pods, policies, elsewhere }: ClusterView): Promise<void> {
    this.#pods.clear()
    for (const pod of pods) this.#pods.set(`${pod.namespace}/${pod.name}`, pod)
    this.#policies = policies
    this.#elsewhere = elsewhere
    await this.#protect()
  }

  /** Others take addresses of the pool, `count` of each family, for good. */
  occupy(owner: string, count: number): void {
    for (let taken = 0; taken < count; taken += 1) this.#run?.ipam.allocateNext('', owner, false)
  }

  /** Makes an endpoint without a request, as the end of one that was received long ago. */
  async makeEndpoint(request: EndpointChangeRequest): Promise<void> {
    const { ipv4, ipv6, 'ipv4-pool-name': pool4 = DEFAULT_POOL, 'ipv6-pool-name': pool6 = DEFAULT_POOL } = request.addressing ?? {}
    if (ipv4 !== undefined) this.#run?.ipam.reserve(ipv4, podName(request), pool4)
    if (ipv6 !== undefined) this.#run?.ipam.reserve(ipv6, podName(request), pool6)
    await this.#run?.endpoints.create(request, this.#run.stop.signal)
  }

  /** The agent loses the endpoints of a sandbox, as by a command of an operator. */
  async forget(containerId: string): Promise<void> {
    for (const endpoint of this.#run?.endpoints.ofContainer(containerId) ?? []) await this.#run?.endpoints.delete(endpoint)
  }

  /** How often an operation was asked for. */
  count(operation: CiliumOperation): number {
    return this.requests.filter((request) => request.operation === operation).length
  }

  /** What was asked for that this release does not know of: a real agent passes it over without a word. */
  undescribed(): string[] {
    return this.requests.flatMap((request) => undescribed(this.#description, request))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.#stateFile, { force: true })
  }

  #prepare(): Run {
    const traits = traitsOf(this.#version)
    const { ranges = { ipv4: '10.0.0.0/24', ipv6: 'fd00:10::/64' }, poolSize, pools = {} } = this.#options
    const ipam = new FakeIpam(this.#clock, ranges, poolSize, this.#config.ipamMode === 'multi-pool' ? pools : undefined)
    const stop = new AbortController()
    const endpoints = new FakeEndpoints({
      clock: this.#clock,
      ipam,
      datapath: this.#datapath,
      traits,
      buildMs: this.#options.buildMs ?? 0,
      annotatedMac: (request) => this.#annotatedMacs.get(podName(request)),
      changed: async () => {
        await this.#save()
        await this.#protect()
      },
    })
    const limit = (group: LimitedGroup): RateLimit => new RateLimit((this.#options.limits ?? DEFAULT_LIMITS)[group], this.#clock)
    const deps: HandlerDeps = {
      config: this.#config,
      traits,
      ipam,
      endpoints,
      limits: {
        'endpoint-create': limit('endpoint-create'),
        'endpoint-delete': limit('endpoint-delete'),
        'endpoint-get': limit('endpoint-get'),
        'endpoint-patch': limit('endpoint-patch'),
        'endpoint-list': limit('endpoint-list'),
      },
      poolOf: (owner, family) => {
        const wanted = this.#pods.get(owner)?.annotations ?? {}
        return wanted[`ipam.cilium.io/${family}-pool`] ?? wanted['ipam.cilium.io/ip-pool'] ?? DEFAULT_POOL
      },
      status: () => ({ version: this.#version, nodeName: this.#nodeName, cilium: this.health, allocations: ipam.allocations }),
      identityOf: (endpoint) => this.#identityOf(endpoint),
      relabelled: () => this.#protect(),
      signal: stop.signal,
    }
    const server = new ApiServer(this.socket, {
      description: this.#description,
      disabled: (operation) => this.disabled.has(operation),
      fault: (operation) => this.faults.take(operation),
      answer: (call) => this.#answer(call, deps),
      served: (request) => this.requests.push(request),
    })
    return { ipam, endpoints, deps, server, stop }
  }

  async #answer(call: ApiCall, deps: HandlerDeps): Promise<ApiAnswer> {
    if (!deps.traits.answersWhileStarting || /^(PUT|PATCH|DELETE) \/endpoint/.test(call.operation)) await this.#ready
    return await HANDLERS[call.operation](call, deps)
  }

  async #restore(endpoints: FakeEndpoints): Promise<void> {
    const text = await readFile(this.#stateFile, 'utf8').catch(() => '[]')
    for (const { id, request } of checkpoint.parse(JSON.parse(text)))
      if (request['k8s-pod-name'] === undefined || this.#podOf(request) !== undefined) await endpoints.restore(request, id)
    await this.#save()
    await this.#protect()
  }

  #podOf(request: EndpointChangeRequest): FakePodObject | undefined {
    const pod = this.#pods.get(podName(request))
    if (pod !== undefined) return pod.nodeName === undefined || pod.nodeName === this.#nodeName ? pod : undefined
    if (this.#options.anyPod !== true || request['k8s-pod-name'] === undefined) return undefined
    return { namespace: request['k8s-namespace'] ?? '', name: request['k8s-pod-name'], uid: request['k8s-uid'] ?? '' }
  }

  #identityOf({ request, userLabels }: FakeEndpoint): FakeIdentity {
    return this.#identities.of(this.#podOf(request), [...(request.labels ?? []), ...userLabels])
  }

  /** One after the other: an older state must not overtake a newer one. */
  #save(): Promise<void> {
    const state: Checkpoint = this.endpoints.map(({ id, request }) => ({ id, request }))
    this.#saving = this.#saving.then(async () => {
      await writeFile(`${this.#stateFile}.new`, JSON.stringify(state))
      await rename(`${this.#stateFile}.new`, this.#stateFile)
    })
    return this.#saving
  }

  /** One after the other, as {@link #save}. */
  #protect(): Promise<void> {
    const protect = async (): Promise<void> => {
      if (this.#run === undefined) return
      const subjects = this.endpoints.map((endpoint) => ({ identity: this.#identityOf(endpoint), ips: ipsOf(endpoint) }))
      await this.#datapath.protect(protectedAddresses(this.#policies, subjects, this.#elsewhere))
      const text = JSON.stringify(subjects)
      if (text === this.#published) return
      await this.#options.published?.(subjects)
      this.#published = text
    }
    this.#protecting = this.#protecting.then(protect, protect)
    return this.#protecting
  }
}

const podName = (request: EndpointChangeRequest): string => `${request['k8s-namespace'] ?? ''}/${request['k8s-pod-name'] ?? ''}`
