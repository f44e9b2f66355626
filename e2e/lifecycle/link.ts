import { type AttachCall, type CallContext, createInMemoryClient, type OffloadApi, type ResyncEvent } from '@cni-offload/protocol'
import { OffloadError } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'
import type { AgentClient } from '../../packages/host/src/agent/agent-link.ts'
import type { Life, Turns } from './turns.ts'

const lost = (): OffloadError => new OffloadError('AGENT_UNREACHABLE', 'the connection was lost')

interface Connection {
  readonly api: OffloadApi
  readonly agent: Life
  readonly lost: AbortController
}

/** The way between host and agent. What is under way when it breaks may or may not have arrived. */
export class Link {
  readonly #turns: Turns
  readonly #listeners = new Set<() => void>()
  #agent: { readonly life: Life; readonly api: OffloadApi } | undefined
  #plugged = true
  #connection: Connection | undefined

  constructor(turns: Turns) {
    this.#turns = turns
  }

  /** An agent serves, or none does any more. */
  serve(agent: { readonly life: Life; readonly api: OffloadApi } | undefined): void {
    this.#agent = agent
    this.#change()
  }

  plug(plugged: boolean): void {
    this.#plugged = plugged
    this.#change()
  }

  #change(): void {
    const agent = this.#plugged ? this.#agent : undefined
    if (this.#connection?.agent === agent?.life) return
    this.#connection?.lost.abort(lost())
    this.#connection =
      agent === undefined
        ? undefined
        : {
            api: createInMemoryClient(agent.api, { role: 'host', node: 'n1' }),
            agent: agent.life,
            lost: new AbortController(),
          }
    for (const tell of this.#listeners) tell()
  }

  /** The client of one run of the host daemon. */
  clientFor(life: Life): AgentClient {
    const unary = (method: string) => this.#unary(life, method as 'attach')
    const handshake = this.#unary(life, 'handshake' as 'attach') as unknown as OffloadApi['handshake']
    const own = {
      // Without heartbeats: whether there is a connection is what this link decides.
      handshake: async (...call: Parameters<OffloadApi['handshake']>) => ({ ...(await handshake(...call)), features: [] }),
      states: (signal: AbortSignal) => this.#states(life, signal),
      obstacle: () => (this.#connection === undefined ? new OffloadError('AGENT_UNREACHABLE', 'there is no connection') : undefined),
      resync: (wired: AsyncIterable<AttachCall>, ctx: CallContext) => this.#resync(life, wired, ctx),
    }
    return new Proxy(own, { get: (target, name: string) => Reflect.get(target, name) ?? unary(name) }) as unknown as AgentClient
  }

  async *#states(life: Life, signal: AbortSignal): AsyncGenerator<'ready' | 'unreachable'> {
    const queue: ('ready' | 'unreachable')[] = []
    let wake = (): void => {}
    const tell = (): void => {
      queue.push(this.#connection === undefined ? 'unreachable' : 'ready')
      wake()
    }
    tell()
    this.#listeners.add(tell)
    life.gone.addEventListener('abort', () => this.#listeners.delete(tell))
    const stopped = aborted(signal)
    while (!signal.aborted) {
      const state = queue.shift()
      if (state === undefined) await Promise.race([new Promise<void>((resolve) => (wake = resolve)), stopped])
      else {
        await this.#turns.turn(life, `sees the agent ${state}`)
        yield state
      }
    }
  }

  #unary(life: Life, method: 'attach'): OffloadApi['attach'] {
    return async (call, ...rest) => {
      const given = [call, ...rest] as unknown[]
      const ctx = given.at(-1) as CallContext
      await this.#turns.turn(life, `${method} is sent`)
      ctx.signal.throwIfAborted()
      const connection = this.#connected()
      const signal = AbortSignal.any([ctx.signal, connection.lost.signal, life.gone])
      const called = Reflect.apply(connection.api[method], connection.api, [...given.slice(0, -1), { ...ctx, signal }]) as ReturnType<
        OffloadApi['attach']
      >
      // What has arrived is processed, even if the connection breaks before that; a dead agent answers nothing.
      const arrived = called.finally(() => connection.lost.signal.throwIfAborted())
      await arrived.catch(() => {})
      await this.#turns.turn(life, `${method} is answered`)
      return await arrived
    }
  }

  async *#resync(life: Life, wired: AsyncIterable<AttachCall>, ctx: CallContext): AsyncGenerator<ResyncEvent> {
    const turns = this.#turns
    await turns.turn(life, 'resync is sent')
    const connection = this.#connected()
    const signal = AbortSignal.any([ctx.signal, connection.lost.signal, life.gone])
    const list = async function* (): AsyncGenerator<AttachCall> {
      for await (const call of wired) {
        await turns.turn(life, `resync names ${call.key.containerId}`)
        yield call
      }
    }
    const events = connection.api.resync(list(), { ...ctx, signal })[Symbol.asyncIterator]()
    // A server ends what it was iterating when its caller is gone, also where that caller will never ask again.
    signal.addEventListener('abort', () => void events.return?.().catch(() => {}))
    for (;;) {
      const next = await events.next()
      if (next.done === true) return
      await turns.turn(life, `resync has ${next.value.action} ${next.value.key.containerId}`)
      signal.throwIfAborted()
      yield next.value
    }
  }

  #connected(): Connection {
    if (this.#connection === undefined) throw lost()
    return this.#connection
  }
}
