import { OffloadError } from '@cni-offload/sdk'
import { type Channel, connectivityState } from '@grpc/grpc-js'
import { explainConnection } from '../tls/explain.ts'

/**
 * Where the connection stands. `connecting`: the first attempts are under way. `ready`: calls go out at once.
 * `unreachable`: attempts fail and go on in the background. `closed`: disposed.
 */
export type ClientState = 'connecting' | 'ready' | 'unreachable' | 'closed'

/** Settings of a {@link Link}. */
export interface LinkOptions {
  /** The channel that is kept connected. */
  readonly channel: Channel
  /** Address for messages. */
  readonly address: string
  /** How long after a connection was lost (or first wanted) calls still wait for it, in milliseconds. */
  readonly patienceMs: number
  /** Told each change. */
  onState(state: ClientState, failure: Error | undefined): void
}

const reasonOf = (signal: AbortSignal, what: string): OffloadError => OffloadError.from(signal.reason, 'CANCELLED', what)

/** Keeps one gRPC channel connected whether or not there are calls, and knows how it stands. */
export class Link {
  readonly #options: LinkOptions
  readonly #listeners = new Set<() => void>()
  #state: ClientState = 'connecting'
  #downSince: number = performance.now()
  #failure: Error | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#follow()
  }

  /** Where the connection stands now. */
  get state(): ClientState {
    return this.#state
  }

  /** Remembers why the newest attempt failed. */
  readonly failed = (error: Error): void => {
    this.#failure = error
  }

  #follow(): void {
    if (this.#state === 'closed') return
    const now = this.#options.channel.getConnectivityState(true)
    if (now === connectivityState.READY) this.#failure = undefined
    if (now === connectivityState.READY) this.#become('ready')
    else if (now === connectivityState.TRANSIENT_FAILURE) this.#become('unreachable')
    else if (this.#state === 'ready') this.#become('connecting')
    this.#options.channel.watchConnectivityState(now, Infinity, () => this.#follow())
  }

  #become(state: ClientState): void {
    if (state === this.#state) return
    if (this.#state === 'ready') this.#downSince = performance.now()
    this.#state = state
    this.#options.onState(state, this.#failure)
    for (const listener of [...this.#listeners]) listener()
  }

  /** No connection any more; everybody who waits is told. */
  close(): void {
    this.#become('closed')
    this.#options.channel.close()
  }

  /** The error of a call that has no connection. */
  unreachable(cause: unknown = this.#failure): OffloadError {
    const { address } = this.#options
    if (this.#state === 'closed') return new OffloadError('CANCELLED', `the client of the agent at ${address} is closed`)
    const failure = this.#failure ?? (cause instanceof Error ? cause : undefined)
    const { reason, hint } = explainConnection(failure)
    const detail = failure === undefined ? '' : ` (${failure.message})`
    return new OffloadError('AGENT_UNREACHABLE', `the agent at ${address} can't be reached: ${reason}${detail}`, { cause, hint })
  }

  /**
   * Resolves when the connection is ready.
   *
   * @param limitMs - how long to wait at most; without it until the signal aborts, even if no connection is expected soon
   * @throws OffloadError AGENT_UNREACHABLE, CANCELLED, DEADLINE_EXCEEDED
   */
  async ready(signal: AbortSignal, limitMs?: number): Promise<void> {
    if (signal.aborted) throw reasonOf(signal, `waiting for the agent at ${this.#options.address}`)
    if (this.#state === 'ready') return
    const left = limitMs === undefined ? undefined : Math.min(limitMs, this.#downSince + this.#options.patienceMs - performance.now())
    if (this.#state === 'closed' || (left !== undefined && left <= 0)) throw this.unreachable()
    await new Promise<void>((resolve, reject) => {
      const timer = left === undefined ? undefined : setTimeout(() => settle(this.unreachable()), left)
      const settle = (error?: OffloadError): void => {
        clearTimeout(timer)
        this.#listeners.delete(look)
        signal.removeEventListener('abort', aborted)
        if (error === undefined) resolve()
        else reject(error)
      }
      const look = (): void => {
        if (this.#state === 'ready') settle()
        else if (this.#state === 'closed') settle(this.unreachable())
      }
      const aborted = (): void => {
        const timedOut = signal.reason instanceof Error && signal.reason.name === 'TimeoutError'
        settle(timedOut ? this.unreachable() : reasonOf(signal, `waiting for the agent at ${this.#options.address}`))
      }
      this.#listeners.add(look)
      signal.addEventListener('abort', aborted, { once: true })
    })
  }

  /** The state now and every one that follows, none left out, until the signal aborts or the client is closed. */
  async *states(signal: AbortSignal): AsyncGenerator<ClientState, void, undefined> {
    const queue: ClientState[] = [this.#state]
    let wake: (() => void) | undefined
    const changed = (): void => {
      queue.push(this.#state)
      wake?.()
    }
    const aborted = (): void => wake?.()
    this.#listeners.add(changed)
    signal.addEventListener('abort', aborted, { once: true })
    try {
      while (!signal.aborted) {
        const next = queue.shift()
        if (next !== undefined) yield next
        else await new Promise<void>((resolve) => (wake = resolve))
        if (next === 'closed') return
      }
    } finally {
      this.#listeners.delete(changed)
      signal.removeEventListener('abort', aborted)
    }
  }
}
