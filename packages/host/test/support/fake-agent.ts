import type {
  AgentBeat,
  AttachCall,
  AttachmentState,
  AttachReply,
  CallContext,
  HandshakeCall,
  HandshakeReply,
  HostBeat,
  KeptVfs,
  OffloadApi,
  ResyncEvent,
} from '@cni-offload/protocol'
import { type AttachResult, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { AgentClient } from '../../src/agent/agent-link.ts'

type State = 'connecting' | 'ready' | 'unreachable'

/** An agent in memory: it gives addresses, remembers attachments, and fails on demand. */
export class FakeAgent implements AgentClient {
  readonly attachments = new Map<string, AttachCall>()
  readonly results = new Map<string, AttachResult>()
  readonly calls: string[] = []
  readonly resyncs: string[][] = []
  instanceId = 'run-1'
  protocol = 1
  /** VFs that networks keep. */
  kept: readonly KeptVfs[] = []
  result: Partial<AttachResult> = {}
  /** Where its attachments stand. */
  state: AttachmentState['state'] = 'attached'
  /** Runs inside of each call, before it has any effect; may throw or wait. */
  before: (method: string, ctx: CallContext) => Promise<void> | void = () => {}
  /** Runs after an attach took effect, before the reply. */
  afterAttach: (call: AttachCall, ctx: CallContext) => Promise<void> | void = () => {}
  /** Optional features that it names. */
  features: readonly string[] = []
  /** Its heartbeats after the first, where it names the feature. */
  beats: OffloadApi['heartbeat'] = async function* () {}
  #state: State
  #next = 2
  readonly #listeners = new Set<(state: State) => void>()

  constructor(state: State = 'ready') {
    this.#state = state
  }

  become(state: State): void {
    this.#state = state
    for (const listener of this.#listeners) listener(state)
  }

  obstacle(): OffloadError | undefined {
    return this.#state === 'ready' ? undefined : new OffloadError('AGENT_UNREACHABLE', 'the agent at fake:1 cannot be reached')
  }

  async *states(signal: AbortSignal): AsyncIterable<State> {
    const queue: State[] = [this.#state]
    let wake = (): void => {}
    const listener = (state: State): void => {
      queue.push(state)
      wake()
    }
    signal.addEventListener('abort', () => wake(), { once: true })
    this.#listeners.add(listener)
    while (!signal.aborted) {
      const next = queue.shift()
      if (next !== undefined) yield next
      else await new Promise<void>((resolve) => (wake = resolve))
    }
    this.#listeners.delete(listener)
  }

  async handshake(call: HandshakeCall, ctx: CallContext): Promise<HandshakeReply> {
    await this.#enter('handshake', ctx)
    this.calls.push(`boot ${call.bootId.length > 0}`)
    return {
      protocol: this.protocol,
      instanceId: this.instanceId,
      networks: ['*', ...this.kept.map(({ network }) => network)],
      features: this.features,
      kept: this.kept,
    }
  }

  async attach(call: AttachCall, ctx: CallContext): Promise<AttachReply> {
    await this.#enter('attach', ctx)
    this.attachments.set(formatAttachmentKey(call.key), call)
    await this.afterAttach(call, ctx)
    const host = this.#next++
    const result: AttachResult = {
      mac: call.vfMac,
      mtu: 1400,
      ips: [
        { address: `10.77.0.${host}/24`, gateway: '10.77.0.1' },
        { address: `fd77::${host.toString(16)}/64`, gateway: 'fd77::1' },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '10.77.0.1' },
        { dst: '::/0', gw: 'fd77::1' },
      ],
      neighbours: [],
      dns: { nameservers: ['10.77.0.53'] },
      sysctls: {},
      ...call.hostIpam,
      ...this.result,
    }
    this.results.set(formatAttachmentKey(call.key), result)
    return { result, port: `p${call.vf.index}` }
  }

  async detach(call: { readonly key: AttachCall['key'] }, ctx: CallContext): Promise<void> {
    await this.#enter('detach', ctx)
    this.attachments.delete(formatAttachmentKey(call.key))
  }

  async check(_call: unknown, ctx: CallContext): Promise<void> {
    await this.#enter('check', ctx)
  }

  async status(_call: unknown, ctx: CallContext): Promise<void> {
    await this.#enter('status', ctx)
  }

  async list(ctx: CallContext): Promise<AttachmentState[]> {
    await this.#enter('list', ctx)
    return [...this.attachments.values()].flatMap((request) => {
      const { key, vf } = request
      const result = this.results.get(formatAttachmentKey(key))
      return result === undefined ? [] : [{ key, vf, port: `p${vf.index}`, state: this.state, result, request }]
    })
  }

  async *resync(wired: AsyncIterable<AttachCall>, ctx: CallContext): AsyncIterable<ResyncEvent> {
    await this.#enter('resync', ctx)
    const told = new Map<string, AttachCall>()
    for await (const call of wired) told.set(formatAttachmentKey(call.key), call)
    this.resyncs.push([...told.keys()])
    for (const [name, call] of told) {
      const action = this.attachments.has(name) ? 'kept' : 'reattached'
      this.attachments.set(name, call)
      yield { key: call.key, action }
    }
    for (const [name, call] of this.attachments)
      if (!told.has(name)) {
        this.attachments.delete(name)
        yield { key: call.key, action: 'detached' }
      }
  }

  /** Beats once; after that what the test says, by default nothing until the connection ends. */
  async *heartbeat(beats: AsyncIterable<HostBeat>, ctx: CallContext): AsyncIterable<AgentBeat> {
    yield { restarting: false }
    yield* this.beats(beats, ctx)
  }

  async #enter(method: string, ctx: CallContext): Promise<void> {
    ctx.signal.throwIfAborted()
    this.calls.push(method)
    if (this.#state !== 'ready') throw new OffloadError('AGENT_UNREACHABLE', 'no connection to the fake agent')
    await this.before(method, ctx)
  }
}

/** Rejects as a call does whose caller gives up. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
