import { randomUUID } from 'node:crypto'
import { type Clock, type Logger, OffloadError, type OpContext } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { CallContext } from '@cni-offload/protocol'
import type { AgentLimits } from '../limits.ts'
import type { AgentMetrics } from '../metrics/metrics.ts'

/** Methods of `offload.v1`, as metrics and logs name them. */
export type Method = 'handshake' | 'attach' | 'detach' | 'check' | 'status' | 'list' | 'resync'

/** What surrounds every call: whether calls are taken, deadline, log, metrics. */
export class Calls {
  readonly #clock: Clock
  readonly #limits: Pick<AgentLimits, 'callTimeoutMs'>
  readonly #metrics: AgentMetrics
  readonly #log: Logger
  readonly #force = new AbortController()
  readonly #idle = new Set<() => void>()
  #running = 0
  #draining = false

  /** Takes calls at once. */
  constructor(clock: Clock, limits: Pick<AgentLimits, 'callTimeoutMs'>, metrics: AgentMetrics, log: Logger) {
    this.#clock = clock
    this.#limits = limits
    this.#metrics = metrics
    this.#log = log
  }

  /** How many calls are running. */
  get running(): number {
    return this.#running
  }

  /**
   * Runs one call.
   *
   * @throws OffloadError NOT_READY once {@link drain} was called; otherwise what `work` throws, turned into an OffloadError
   */
  async run<T>(
    method: Method,
    ctx: CallContext,
    fields: Readonly<Record<string, unknown>>,
    work: (op: OpContext) => Promise<T>,
  ): Promise<T> {
    using call = this.#begin(method, ctx, fields)
    try {
      return await work(call.op)
    } catch (error) {
      throw call.fail(error)
    }
  }

  /** {@link run} for a call that answers with a stream. */
  async *stream<T>(method: Method, ctx: CallContext, work: (op: OpContext) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    using call = this.#begin(method, ctx, {})
    try {
      yield* work(call.op)
    } catch (error) {
      throw call.fail(error)
    }
  }

  /**
   * Takes no more calls and waits for those that run; those that have not ended after `graceMs` are aborted.
   *
   * @param settleMs - how long aborted calls may take to undo what they did
   */
  async drain(graceMs: number, settleMs: number): Promise<void> {
    this.#draining = true
    await this.#whenIdle(graceMs)
    this.#force.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await this.#whenIdle(settleMs)
    if (this.#running > 0)
      this.#log.error({ calls: this.#running }, 'calls do not end although they were aborted; the journal has what they leave')
  }

  #begin(
    method: Method,
    ctx: CallContext,
    fields: Readonly<Record<string, unknown>>,
  ): Disposable & { readonly op: OpContext; fail(error: unknown): OffloadError } {
    if (this.#draining)
      throw new OffloadError('NOT_READY', 'the agent is stopping', {
        hint: 'It will be served again when the agent has been started again.',
      })
    const log = this.#log.child({ requestId: ctx.requestId ?? randomUUID(), method, ...fields })
    const signal = deadline(AbortSignal.any([ctx.signal, this.#force.signal]), ctx.timeoutMs ?? this.#limits.callTimeoutMs)
    const began = this.#clock.monotonic()
    let outcome = 'OK'
    this.#running++
    return {
      op: { signal, log },
      fail: (error) => {
        const failure = OffloadError.from(error, 'INTERNAL', method)
        outcome = failure.code
        if (failure.code === 'INTERNAL') log.error({ err: error }, 'a call failed by a defect')
        return failure
      },
      [Symbol.dispose]: () => {
        const ms = this.#clock.monotonic() - began
        this.#metrics.callSeconds.observe({ method, outcome }, ms / 1000)
        log.debug({ outcome, ms }, 'call ended')
        this.#running--
        if (this.#running === 0) for (const wake of this.#idle) wake()
      },
    }
  }

  async #whenIdle(ms: number): Promise<void> {
    if (this.#running === 0) return
    const stop = new AbortController()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.add(resolve)
    await Promise.race([promise, this.#clock.sleep(ms, stop.signal).catch(() => undefined)])
    this.#idle.delete(resolve)
    stop.abort()
  }
}
