import { type Logger, OffloadError } from '@cni-offload/sdk'
import { aborted, Scope, serveMetrics } from '@cni-offload/sdk/runtime'
import { createOffloadServer, type OffloadServer } from '@cni-offload/protocol'
import { DEFAULT_LIMITS } from './limits.ts'
import { stderrLogger } from './log.ts'
import type { AgentOptions } from './options.ts'
import { type Runtime, startRuntime } from './runtime/runtime.ts'
import { authorisePeer } from './service/authorise.ts'
import type { AgentState } from './state.ts'

/** A DPU agent. */
export interface Agent {
  /** Node that it belongs to. */
  readonly node: string
  /** Where it stands. */
  readonly state: AgentState
  /** Address of `offload.v1`, with the real port, once calls are served. Rejects if it never comes to that. */
  readonly listening: Promise<string>
  /** Address of `/metrics` and `/healthz` likewise, undefined where they are not served. */
  readonly metricsListening: Promise<string | undefined>
  /**
   * Starts, serves until the signal aborts, lets running calls end and stops. Attachments stay.
   *
   * @throws OffloadError INVALID_CONFIG, JOURNAL_FAILURE, HARDWARE_FAILURE, ADAPTER_FAILED when it cannot start; INTERNAL
   * when it was run before
   */
  run(signal: AbortSignal): Promise<void>
}

/** Makes an agent. Nothing is opened nor touched before {@link Agent.run}. */
export function createAgent(options: AgentOptions): Agent {
  return new DpuAgent(options)
}

class DpuAgent implements Agent {
  readonly #options: AgentOptions
  readonly #log: Logger
  readonly #listening = Promise.withResolvers<string>()
  readonly #metricsListening = Promise.withResolvers<string | undefined>()
  #state: AgentState = 'INITIALIZED'

  constructor(options: AgentOptions) {
    this.#log = options.log ?? stderrLogger()
    this.#options = { ...options, log: this.#log }
    // A caller that only awaits run() learns of the failure there.
    for (const { promise } of [this.#listening, this.#metricsListening]) promise.catch(() => undefined)
  }

  get node(): string {
    return this.#options.node
  }

  get state(): AgentState {
    return this.#state
  }

  get listening(): Promise<string> {
    return this.#listening.promise
  }

  get metricsListening(): Promise<string | undefined> {
    return this.#metricsListening.promise
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'INITIALIZED')
      throw new OffloadError('INTERNAL', `the agent of node "${this.node}" was run before`, { hint: 'Make a new one with createAgent().' })
    try {
      await this.#live(signal)
    } catch (error) {
      for (const { reject } of [this.#listening, this.#metricsListening]) reject(error)
      // Told to stop while it was starting: that is no failure.
      if (!signal.aborted) throw error
    } finally {
      this.#become('STOPPED')
    }
  }

  async #live(signal: AbortSignal): Promise<void> {
    this.#become('STARTING')
    await using stack = new AsyncDisposableStack()
    const scope = stack.use(Scope.root())
    const runtime = await startRuntime(scope, this.#options, signal)
    const metrics = await this.#serveMetrics(stack, runtime)
    const server = stack.use(await this.#serve(runtime))
    server.setHealth(true)
    this.#become('RUNNING', { listen: server.address, metrics, networks: runtime.networks })
    this.#listening.resolve(server.address)
    this.#metricsListening.resolve(metrics)
    await aborted(signal)
    this.#become('DRAINING', { calls: runtime.calls.running })
    server.setHealth(false)
    runtime.host.restarting()
    const { drainMs, compensationTimeoutMs } = { ...DEFAULT_LIMITS, ...this.#options.limits }
    await Promise.all([
      runtime.reconciler[Symbol.asyncDispose](),
      server.drain(drainMs),
      runtime.calls.drain(drainMs, compensationTimeoutMs),
    ])
  }

  async #serve({ service }: Runtime): Promise<OffloadServer> {
    const { listen, tls, node } = this.#options
    return await createOffloadServer({
      listen,
      tls,
      api: service,
      authorize: (peer) => authorisePeer(peer, node),
      log: this.#log.child({ component: 'agent.rpc', node }),
    })
  }

  async #serveMetrics(stack: AsyncDisposableStack, { metrics, health, host }: Runtime): Promise<string | undefined> {
    const { metrics: listen } = this.#options
    if (listen === undefined) return undefined
    const ready = (): { ok: boolean; text: string } => ({
      ok: this.#state === 'RUNNING' && health.trouble === undefined,
      // The host being away is no fault of this process.
      text: `${health.trouble ?? this.#state}, ${host.text}`,
    })
    return stack.use(
      await serveMetrics({ listen, registry: metrics.registry, health: ready, log: this.#log.child({ component: 'agent.metrics' }) }),
    ).address
  }

  /** The one place where the state changes. */
  #become(state: AgentState, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#log.info({ component: 'agent', node: this.node, from: this.#state, to: state, ...fields }, 'agent state')
    this.#state = state
  }
}
