import type { AttachCall, CallContext, OffloadApi, ResyncEvent } from '@cni-offload/protocol'
import { type Clock, OffloadError, systemClock } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { ApiMethod, CallFault, FaultableCall, FaultPlan } from './call-faults.ts'

const DEFAULT_TIMEOUT_MS = 10_000
const METHODS: ReadonlySet<string> = new Set<ApiMethod>(['handshake', 'attach', 'detach', 'check', 'status', 'list', 'resync'])

/** Something that has happened to a call. */
export interface InjectedFault extends FaultableCall {
  /** What. */
  readonly fault: CallFault
}

/**
 * A way between host and agent on which calls get lost, come twice, late, or in another order.
 *
 * @typeParam T - what is wrapped: the agent's service as the host sees it, or a client with more methods than those of `offload.v1`
 */
export class FaultyApi<T extends OffloadApi> {
  /** Stands in for what is wrapped. */
  readonly api: T
  /** All that has happened so far. */
  readonly injected: InjectedFault[] = []
  #plan: FaultPlan
  readonly #clock: Clock
  readonly #count = new Map<ApiMethod, number>()
  readonly #late = new Set<Promise<unknown>>()
  #ended = Promise.withResolvers<void>()

  /**
   * @param plan - what happens; nothing, if absent
   * @param clock - time of delays and of calls that nobody answers
   */
  constructor(api: T, plan: FaultPlan = () => undefined, clock: Clock = systemClock) {
    this.#plan = plan
    this.#clock = clock
    this.api = new Proxy(api, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target)
        if (typeof member !== 'function') return member
        if (!METHODS.has(String(name))) return member.bind(target) as unknown
        return this.#method(target, name as ApiMethod)
      },
    })
  }

  /** Takes another plan from now on; calls are counted anew. */
  use(plan: FaultPlan): void {
    this.#plan = plan
    this.#count.clear()
  }

  /** Resolves when calls that came once more have ended, too. Whether they succeeded is not told. */
  async settled(): Promise<void> {
    while (this.#late.size > 0) await Promise.all(this.#late)
  }

  #method(target: T, method: ApiMethod): unknown {
    if (method === 'resync') return (wired: AsyncIterable<AttachCall>, ctx: CallContext) => this.#resync(target, wired, ctx)
    // `list` has no message.
    if (method === 'list') return (ctx: CallContext) => this.#call(method, ctx, (inner) => target.list(inner))
    const direct = target[method].bind(target) as (call: unknown, ctx: CallContext) => Promise<unknown>
    return (call: unknown, ctx: CallContext) => this.#call(method, ctx, (inner) => direct(call, inner))
  }

  async #call<R>(method: ApiMethod, ctx: CallContext, deliver: (ctx: CallContext) => Promise<R>): Promise<R> {
    const fault = this.#draw(method)
    try {
      await this.#before(fault, method, ctx)
      if (fault?.kind === 'repeated') this.#repeat(ctx, deliver)
      if (fault?.kind === 'duplicated') this.#later(deliver(ctx))
      const reply = await deliver(ctx)
      if (fault?.kind === 'reply-lost') await this.#lose(fault, method, ctx)
      return reply
    } finally {
      this.#end()
    }
  }

  async *#resync(target: T, wired: AsyncIterable<AttachCall>, ctx: CallContext): AsyncGenerator<ResyncEvent, void, undefined> {
    const fault = this.#draw('resync')
    try {
      await this.#before(fault, 'resync', ctx)
      for await (const event of target.resync(wired, ctx)) {
        yield event
        if (fault?.kind === 'reply-lost') await this.#lose(fault, 'resync', ctx)
      }
      if (fault?.kind === 'reply-lost') await this.#lose(fault, 'resync', ctx)
    } finally {
      this.#end()
    }
  }

  #draw(method: ApiMethod): CallFault | undefined {
    const occurrence = (this.#count.get(method) ?? 0) + 1
    this.#count.set(method, occurrence)
    const fault = this.#plan({ method, occurrence })
    if (fault !== undefined) this.injected.push({ method, occurrence, fault })
    return fault
  }

  async #before(fault: CallFault | undefined, method: ApiMethod, ctx: CallContext): Promise<void> {
    if (fault?.kind === 'request-lost') await this.#lose(fault, method, ctx)
    if (fault?.kind === 'delayed') await this.#clock.sleep(fault.ms, ctx.signal)
    if (fault?.kind === 'overtaken') await this.#overtaken(method, ctx)
  }

  async #lose({ silent }: { readonly silent?: boolean }, method: ApiMethod, ctx: CallContext): Promise<never> {
    if (silent === true) await this.#outlast(method, ctx)
    throw new OffloadError('AGENT_UNREACHABLE', `${method}: the connection was lost (injected fault)`)
  }

  async #outlast(method: ApiMethod, { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: CallContext): Promise<never> {
    await this.#clock.sleep(timeoutMs, signal)
    throw new OffloadError('DEADLINE_EXCEEDED', `${method} took longer than ${timeoutMs} ms (injected fault)`)
  }

  /** Until another call has ended, or its own time is over. */
  async #overtaken(method: ApiMethod, ctx: CallContext): Promise<void> {
    const overtaken = new AbortController()
    const { signal } = overtaken
    await Promise.race([this.#ended.promise, this.#outlast(method, { ...ctx, signal: AbortSignal.any([ctx.signal, signal]) })]).finally(
      () => overtaken.abort(),
    )
  }

  #repeat(ctx: CallContext, deliver: (ctx: CallContext) => Promise<unknown>): void {
    const own = this.#ended.promise
    // Its own end comes first.
    const other = own.then(() => this.#ended.promise)
    const timeoutMs = ctx.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.#later(other.then(() => deliver({ ...ctx, signal: deadline(new AbortController().signal, timeoutMs) })))
  }

  #later(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => this.#late.delete(settled))
    this.#late.add(settled)
  }

  #end(): void {
    const { resolve } = this.#ended
    this.#ended = Promise.withResolvers()
    resolve()
  }
}
