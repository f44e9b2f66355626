import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
  type CniAdapter,
  type ConfiguredPlugin,
  type CryptoEngine,
  type DetachRequest,
  type DeviceEvent,
  type DpuDevice,
  formatAttachmentKey,
  formatVfId,
  type KnownAttachment,
  OffloadError,
  type OpContext,
  type PortRef,
  type RememberedAttachment,
  type VfId,
} from '@cni-offload/sdk'

/** A network that outlives its adapter, as a kernel does. Ports are connected one to one. */
export class FakeNetwork {
  readonly connected = new Map<
    string,
    { readonly key: AttachmentKey; readonly port: string; readonly result: AttachResult; readonly request?: AttachRequest }
  >()
  /** Whether adapters tell the agent what they have; `incomplete` without the answer. */
  remembers: boolean | 'incomplete' = false
  /** Names of all calls in their order. */
  readonly calls: string[] = []
  /** What is done before the effect of a call; may throw or wait. */
  before: Partial<Record<'attach' | 'detach' | 'check' | 'status' | 'list', ((id: string, ctx: OpContext) => unknown) | undefined>> = {}
  /** What is done after the effect of an attach; may throw, or change the answer. */
  afterAttach: ((id: string, result: AttachResult, ctx: OpContext) => unknown) | undefined
  #next = 1

  /** An address never used before: a repeated attach that is not idempotent shows. */
  newResult(): AttachResult {
    const n = this.#next++
    return {
      mac: `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
      mtu: 1500,
      ips: [{ address: `10.${n >> 8}.${n & 255}.2/24`, gateway: `10.${n >> 8}.${n & 255}.1` }],
      routes: [{ dst: '0.0.0.0/0', gw: `10.${n >> 8}.${n & 255}.1` }],
      neighbours: [],
      dns: {},
      sysctls: {},
    }
  }

  count(prefix: string): number {
    return this.calls.filter((call) => call.startsWith(prefix)).length
  }
}

/** One run of an adapter over a {@link FakeNetwork}; it complains about calls that should have been serialised. */
export class FakeAdapter implements CniAdapter {
  readonly name: string
  readonly specVersion = 'v1'
  readonly capabilities: AdapterCapabilities
  started: readonly PortRef[] | undefined
  /** What the agent knew at the start. */
  known: readonly KnownAttachment[] = []
  disposed = false
  /** A killed process has no effect any more. */
  dead = false
  readonly #network: FakeNetwork
  readonly #busy = new Set<string>()

  constructor(network: FakeNetwork, capabilities: Partial<AdapterCapabilities> = {}, name = 'fake') {
    this.name = name
    this.#network = network
    this.capabilities = { families: ['ipv4', 'ipv6'], runtimeConfig: ['bandwidth'], fixedMac: false, ...capabilities }
  }

  start(ports: readonly PortRef[], _ctx: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    this.started = ports
    this.known = known
    return Promise.resolve()
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    const id = formatAttachmentKey(req.key)
    return await this.#alone([id, req.port.name], `attach ${id}`, async () => {
      await this.#network.before.attach?.(id, ctx)
      this.#alive()
      const old = this.#network.connected.get(id)
      for (const other of this.#network.connected.values())
        if (other.port === req.port.name && other.key !== old?.key)
          throw new Error(`port ${req.port.name} is still connected for ${formatAttachmentKey(other.key)}`)
      if (old !== undefined && old.port !== req.port.name) throw new Error(`${id} is still connected to ${old.port}`)
      const result = req.had ?? old?.result ?? this.#network.newResult()
      this.#network.connected.set(id, { key: req.key, port: req.port.name, result, request: req })
      return ((await this.#network.afterAttach?.(id, result, ctx)) as AttachResult | undefined) ?? result
    })
  }

  async detach(req: DetachRequest, ctx: OpContext): Promise<void> {
    const id = formatAttachmentKey(req.key)
    await this.#alone([id, ...(req.port === undefined ? [] : [req.port.name])], `detach ${id}`, async () => {
      await this.#network.before.detach?.(id, ctx)
      ctx.signal.throwIfAborted()
      this.#alive()
      this.#network.connected.delete(id)
    })
  }

  async check(req: CheckRequest, ctx: OpContext): Promise<void> {
    const id = formatAttachmentKey(req.key)
    await this.#alone([id, req.port.name], `check ${id}`, async () => {
      await this.#network.before.check?.(id, ctx)
      if (this.#network.connected.get(id)?.port !== req.port.name)
        throw new OffloadError('CHECK_FAILED', `${id} is not connected to ${req.port.name}`)
    })
  }

  async status(ctx: OpContext): Promise<void> {
    await this.#network.before.status?.('', ctx)
  }

  async list(ctx: OpContext): Promise<AttachmentKey[]> {
    await this.#network.before.list?.('', ctx)
    return [...this.#network.connected.values()].map(({ key }) => key)
  }

  async remembered(): Promise<RememberedAttachment[]> {
    const { connected, remembers } = this.#network
    if (remembers === false) return []
    return [...connected.values()].flatMap(({ request, result }) =>
      request === undefined ? [] : [{ request, ...(remembers === true ? { result } : {}) }],
    )
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
    return Promise.resolve()
  }

  #alive(): void {
    if (this.dead) throw new Error('this adapter was killed')
  }

  async #alone<T>(what: readonly string[], call: string, work: () => Promise<T>): Promise<T> {
    const clash = what.find((name) => this.#busy.has(name))
    if (clash !== undefined) throw new Error(`${call} while another call uses ${clash}`)
    this.#network.calls.push(call)
    for (const name of what) this.#busy.add(name)
    try {
      return await work()
    } finally {
      for (const name of what) this.#busy.delete(name)
    }
  }
}

/** A device with ports `port0`, `port1`, … for VFs `card/0`, `card/1`, …. */
export class FakeDevice implements DpuDevice {
  readonly name = 'fake-card'
  readonly specVersion = 'v1'
  running = false
  disposed = false
  readonly crypto?: CryptoEngine
  readonly #ports: readonly PortRef[]
  readonly #events: DeviceEvent[] = []
  #wake = Promise.withResolvers<void>()

  constructor(ports: number, crypto?: CryptoEngine) {
    if (crypto !== undefined) this.crypto = crypto
    this.#ports = Array.from({ length: ports }, (_, index) => ({ vf: { device: 'card', index }, name: `port${index}` }))
  }

  start(signal: AbortSignal): Promise<void> {
    this.running = true
    signal.addEventListener('abort', () => {
      this.running = false
    })
    return Promise.resolve()
  }

  ports(): Promise<PortRef[]> {
    return Promise.resolve([...this.#ports])
  }

  port(vf: VfId): Promise<PortRef> {
    const port = this.#ports.find((candidate) => formatVfId(candidate.vf) === formatVfId(vf))
    if (port === undefined) throw new OffloadError('HARDWARE_FAILURE', `VF ${formatVfId(vf)} has no port`)
    return Promise.resolve(port)
  }

  tell(event: DeviceEvent): void {
    this.#events.push(event)
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  async *watch(signal: AbortSignal): AsyncIterable<DeviceEvent> {
    signal.addEventListener('abort', () => {
      this.#wake.resolve()
    })
    while (!signal.aborted) {
      yield* this.#events.splice(0)
      if (!signal.aborted) await this.#wake.promise
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
    return Promise.resolve()
  }
}

/** Plugins that hand out what the test made. */
export const adapterPlugin = (make: () => CniAdapter): ConfiguredPlugin<'adapter'> => ({
  kind: 'adapter',
  name: 'fake',
  create: () => Promise.resolve().then(make),
})
export const devicePlugin = (make: () => DpuDevice): ConfiguredPlugin<'dpu-device'> => ({
  kind: 'dpu-device',
  name: 'fake-card',
  create: () => Promise.resolve().then(make),
})
