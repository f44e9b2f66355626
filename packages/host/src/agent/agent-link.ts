import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type AttachCall,
  type AttachReply,
  type CallContext,
  HEARTBEAT,
  type HandshakeReply,
  type OffloadApi,
  PROTOCOL_VERSIONS,
  type ResyncEvent,
} from '@cni-offload/protocol'
import { type Clock, type Logger, OffloadError, type VfId } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { AttachmentJournal } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { reached } from '../steps.ts'
import { Gate } from './gate.ts'
import { Heartbeat } from './heartbeat.ts'
import { Resyncer } from './resyncer.ts'
import { ONE_POOL, vfPools, type VfPools } from './vf-pools.ts'

/** A client of the agent that says how its connection stands. `createOffloadClient` of the protocol makes one. */
export interface AgentClient extends OffloadApi {
  /** The state now and every one that follows: each `ready` after another state is a new connection. */
  states(signal: AbortSignal): AsyncIterable<'connecting' | 'ready' | 'unreachable' | 'closed'>
  /** Why there is no connection now, naming the agent's address; undefined while there is one. */
  obstacle(): OffloadError | undefined
}

/** What an {@link AgentLink} is made of. */
export interface AgentLinkDeps {
  /** The way to the agent. */
  readonly client: AgentClient
  /** What the host has. */
  readonly journal: Pick<AttachmentJournal, 'all' | 'get'>
  /** Has to be done before the agent is told what the host has. */
  readonly beforeResync?: (signal: AbortSignal) => Promise<void>
  /** Name of this node. */
  readonly node: string
  /** Boot of this host. */
  readonly bootId: string
  /** Waiting times. */
  readonly limits: HostLimits
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Told whenever the agent can be used, and what a resync did. */
  readonly observer?: { connected(connected: boolean): void; resynced(event: ResyncEvent): void }
}

const RETRY_MS = 1_000

/** How many turns of the event loop a message may need from the packet to its reader. */
const TURNS = 10

/** How calls fail that an agent on its way down does not take, or does not finish. */
const CUT_OFF: ReadonlySet<string> = new Set(['AGENT_UNREACHABLE', 'CANCELLED', 'NOT_READY'])

/**
 * The connection to the agent, kept in step: after each (re)connect both sides agree on a protocol version, then the host
 * tells all that it has, and only then calls pass again. Thus no call can cross a resync that does not know of it.
 *
 * Calls to an agent that is lost fail fast. Those to one that has said that it restarts wait for it, and are made again where its
 * end cut them off; so do those of a daemon that has just started and waits for its first connection.
 */
export class AgentLink {
  readonly #deps: AgentLinkDeps
  readonly #gate = new Gate()
  readonly #resyncer: Resyncer
  readonly #heartbeat: Heartbeat
  #session: HandshakeReply | undefined
  #pools: VfPools = ONE_POOL
  #failure: OffloadError | undefined
  /** Until when the agent is expected to come, or to come back, by the monotonic clock. */
  #expectedUntil: number
  /** Settled once all is read that came over a connection that has just been lost: the agent may have said that it restarts. */
  #parting: Promise<void> | undefined

  constructor(deps: AgentLinkDeps) {
    this.#deps = deps
    this.#resyncer = new Resyncer(deps)
    this.#heartbeat = new Heartbeat(deps)
    this.#expectedUntil = deps.clock.monotonic() + deps.limits.restartMs
  }

  /** Whether calls pass. */
  get connected(): boolean {
    return this.#gate.isOpen
  }

  /** Which run of the agent it is; undefined while it is not connected. */
  get instanceId(): string | undefined {
    return this.connected ? this.#session?.instanceId : undefined
  }

  /** Whether a network may use a VF, as the agent said last. */
  eligible(network: string): (vf: VfId) => boolean {
    return this.#pools(network)
  }

  /** Keeps the connection in step until the signal aborts; `onReady` is called each time that calls can pass again. */
  async run(signal: AbortSignal, onReady: () => void): Promise<void> {
    let connection = new AbortController()
    let established: Promise<void> = Promise.resolve()
    try {
      for await (const state of this.#deps.client.states(signal)) {
        connection.abort(new OffloadError('AGENT_UNREACHABLE', 'the connection to the agent was lost'))
        this.#parting = established
        await established
        this.#parting = undefined
        this.#close()
        if (state !== 'ready') continue
        connection = new AbortController()
        established = this.#establish(AbortSignal.any([signal, connection.signal]), signal, onReady)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      connection.abort(new OffloadError('CANCELLED', 'the daemon is stopping'))
      await established
      this.#close()
    }
  }

  /** Makes an attachment. `noted` is called with the reply before a resync could look at the journal. */
  async attach(call: AttachCall, ctx: CallContext, noted: (reply: AttachReply) => void): Promise<AttachReply> {
    return await this.#patiently(ctx.signal, () =>
      this.#resyncer.attaching(call, async () => {
        const asked = this.#deps.client.attach(call, ctx)
        reached('host.add.asked')
        const reply = await asked
        noted(reply)
        return reply
      }),
    )
  }

  /** Ends an attachment. @throws OffloadError AGENT_UNREACHABLE, or what the agent answers */
  async detach(call: Parameters<OffloadApi['detach']>[0], ctx: CallContext): Promise<void> {
    await this.#patiently(ctx.signal, async () => {
      await this.#resyncer.detaching(call.key, ctx.signal)
      await this.#deps.client.detach(call, ctx)
    })
  }

  /** Checks an attachment on the DPU. @throws OffloadError CHECK_FAILED, AGENT_UNREACHABLE */
  async check(call: Parameters<OffloadApi['check']>[0], ctx: CallContext): Promise<void> {
    await this.#patiently(ctx.signal, () => this.#deps.client.check(call, ctx))
  }

  /**
   * Whether attachments to a network can be made. Never waits for a restart: who asks wants to know how it is now.
   *
   * @throws OffloadError NOT_READY, LIMITED_CONNECTIVITY, AGENT_UNREACHABLE
   */
  async status(call: Parameters<OffloadApi['status']>[0], ctx: CallContext): Promise<void> {
    using _pass = await this.#enter(ctx.signal, () => this.#deps.limits.agentMs)
    await this.#deps.client.status(call, ctx)
  }

  /**
   * Resolves when calls pass, at once as a rule.
   *
   * @throws OffloadError AGENT_UNREACHABLE, or why host and agent do not fit together, after `limits.agentMs`; after
   * `limits.restartMs` where the agent restarts
   */
  async ready(signal: AbortSignal): Promise<void> {
    using _pass = await this.#enter(signal, () => this.#patienceMs)
  }

  /** Where the agent restarts, waits for it and makes a call again that its end has cut off: all calls are idempotent. */
  async #patiently<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    for (;;) {
      const pass = await this.#enter(signal, () => this.#patienceMs)
      try {
        return await call()
      } catch (error) {
        const failure = OffloadError.from(error)
        if (CUT_OFF.has(failure.code)) await this.#lastWords()
        if (signal.aborted || this.#gate.isOpen || !this.#isExpected || !CUT_OFF.has(failure.code)) throw error
        this.#deps.log.info({ code: failure.code, reason: failure.message }, 'a call is made again when the agent is back')
      } finally {
        pass[Symbol.dispose]()
      }
    }
  }

  /** What the agent said before it refused a call, or before its connection went, may be in the same packet. */
  async #lastWords(): Promise<void> {
    for (let turn = 0; turn < TURNS && this.#gate.isOpen; turn++) await nextTurn()
    await this.#parting
  }

  get #isExpected(): boolean {
    return this.#expectedUntil > this.#deps.clock.monotonic()
  }

  get #patienceMs(): number {
    return Math.max(this.#deps.limits.agentMs, this.#expectedUntil - this.#deps.clock.monotonic())
  }

  async #enter(signal: AbortSignal, patienceMs: () => number): Promise<Disposable> {
    if (this.#gate.isOpen) return this.#gate.enter(signal)
    await this.#parting
    try {
      return await this.#gate.enter(deadline(signal, patienceMs()))
    } catch (error) {
      if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', 'waiting for the agent')
      throw this.#unreachable(error)
    }
  }

  #unreachable(error: unknown): OffloadError {
    // What keeps the connection from standing now says more than why an earlier one was of no use.
    const failure = this.#deps.client.obstacle() ?? this.#failure
    if (failure?.code === 'INCOMPATIBLE_PEER' || failure?.code === 'PERMISSION_DENIED') return failure
    return new OffloadError(
      'AGENT_UNREACHABLE',
      `the DPU agent of node ${this.#deps.node} cannot be used at the moment: ${failure?.message ?? 'host and agent are still agreeing on what exists'}`,
      {
        cause: failure ?? error,
        hint: failure?.hint ?? 'Is the agent running on the DPU, and is the link to it up?',
      },
    )
  }

  #close(): void {
    if (this.#gate.isOpen) this.#deps.observer?.connected(false)
    this.#gate.close()
    this.#session = undefined
  }

  #restarting({ instanceId }: HandshakeReply): void {
    const { clock, limits, log } = this.#deps
    log.info({ instanceId, waitMs: limits.restartMs }, 'agent restarts: calls wait for it')
    this.#expectedUntil = clock.monotonic() + limits.restartMs
    this.#failure = new OffloadError('AGENT_UNREACHABLE', 'it restarts', { hint: 'Wait until it is back.' })
    this.#close()
  }

  /** Never rejects: it tries until it works, and then keeps host and agent in step until the connection is gone. */
  async #establish(signal: AbortSignal, stopping: AbortSignal, onReady: () => void): Promise<void> {
    const { log, clock } = this.#deps
    while (!signal.aborted) {
      try {
        const session = await this.#handshake(signal)
        const leaving = new AbortController()
        const work = (alive: AbortSignal): Promise<void> => this.#serve(session, alive, leaving.signal, onReady)
        return await this.#heartbeat.during(session, { signal, stopping }, work, () => {
          leaving.abort()
          this.#restarting(session)
        })
      } catch (error) {
        if (signal.aborted) return
        this.#close()
        const failure = OffloadError.from(error)
        if (failure.message !== this.#failure?.message)
          log.error({ err: failure, code: failure.code, hint: failure.hint }, 'agent cannot be used')
        this.#failure = failure
        await clock.sleep(RETRY_MS, signal).catch(() => {})
      }
    }
  }

  /**
   * Brings the agent in line, lets calls pass, and keeps it in line. Of an agent that has said meanwhile that it restarts (`leaving`
   * has aborted) nothing more is asked: calls wait for the next connection.
   */
  async #serve(session: HandshakeReply, signal: AbortSignal, leaving: AbortSignal, onReady: () => void): Promise<void> {
    const closed = (): void => this.#close()
    signal.addEventListener('abort', closed, { once: true })
    // Calls of before the loss end by themselves; a resync that overlapped them would take their work for strays.
    await this.#gate.emptied(signal)
    await this.#deps.beforeResync?.(signal)
    const again = await this.#resyncer.run(signal)
    signal.throwIfAborted()
    if (leaving.aborted) return
    this.#session = session
    this.#pools = vfPools(session)
    this.#failure = undefined
    this.#expectedUntil = 0
    this.#gate.open()
    this.#deps.observer?.connected(true)
    this.#deps.log.info({ instanceId: session.instanceId, protocol: session.protocol, networks: session.networks }, 'agent connected')
    onReady()
    await this.#resyncer.repeat(again, signal)
  }

  async #handshake(signal: AbortSignal): Promise<HandshakeReply> {
    const { client, node, bootId } = this.#deps
    const session = await client.handshake({ protocol: PROTOCOL_VERSIONS, node, bootId, features: [HEARTBEAT] }, { signal })
    if (session.protocol < PROTOCOL_VERSIONS.min || session.protocol > PROTOCOL_VERSIONS.max)
      throw new OffloadError(
        'INCOMPATIBLE_PEER',
        `the agent chose protocol version ${session.protocol}, this daemon speaks ${PROTOCOL_VERSIONS.min} to ${PROTOCOL_VERSIONS.max}`,
        {
          hint: `Upgrade the ${session.protocol > PROTOCOL_VERSIONS.max ? 'host daemon' : 'agent'}.`,
        },
      )
    return session
  }
}
