import { type Logger, OffloadError } from '@cni-offload/sdk'
import { aborted, deadline, Scope, serveMetrics } from '@cni-offload/sdk/runtime'
import { type HostInspection, inspectDpu, inspectHost } from './inspect.ts'
import { stderrLogger } from './log.ts'
import { DEFAULT_SOCKET, type HostOptions, type HostParts } from './options.ts'
import { type Runtime, startRuntime } from './runtime/runtime.ts'
import { createDispatcher } from './server/dispatch.ts'
import type { InspectRequest } from './server/request.ts'
import { SocketServer } from './server/socket-server.ts'
import type { HostState } from './state.ts'

/** A host daemon. */
export interface Host {
  /** Name of its node. */
  readonly node: string
  /** Where it stands. */
  readonly state: HostState
  /** Path of the socket once requests are answered. Rejects if it never comes to that. */
  readonly listening: Promise<string>
  /** Port of `/metrics` and `/healthz` likewise, undefined where they are not served. */
  readonly metricsListening: Promise<number | undefined>
  /**
   * Starts, serves until the signal aborts, lets running requests end and stops. Attachments stay.
   *
   * @throws OffloadError INVALID_CONFIG, JOURNAL_FAILURE, HARDWARE_FAILURE, IO_FAILURE, DEADLINE_EXCEEDED when it cannot start;
   * INTERNAL when it was run before
   */
  run(signal: AbortSignal): Promise<void>
}

/** Makes a host daemon. Nothing is opened nor touched before {@link Host.run}. */
export function createHost(options: HostOptions, parts: HostParts = {}): Host {
  return new HostDaemon(options, parts)
}

class HostDaemon implements Host {
  readonly #options: HostOptions
  readonly #parts: HostParts
  readonly #log: Logger
  readonly #listening = Promise.withResolvers<string>()
  readonly #metricsListening = Promise.withResolvers<number | undefined>()
  #state: HostState = 'INITIALIZED'

  constructor(options: HostOptions, parts: HostParts) {
    this.#options = options
    this.#parts = parts
    this.#log = (options.log ?? stderrLogger()).child({ node: options.node })
    // A caller that only awaits run() learns of the failure there.
    for (const { promise } of [this.#listening, this.#metricsListening]) promise.catch(() => undefined)
  }

  get node(): string {
    return this.#options.node
  }

  get state(): HostState {
    return this.#state
  }

  get listening(): Promise<string> {
    return this.#listening.promise
  }

  get metricsListening(): Promise<number | undefined> {
    return this.#metricsListening.promise
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'INITIALIZED')
      throw new OffloadError('INTERNAL', `the host daemon of node "${this.node}" was run before`, {
        hint: 'Make a new one with createHost().',
      })
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
    const runtime = await startRuntime(scope, this.#options, this.#parts, this.#log.child({ component: 'host' }), signal)
    stack.defer(() => runtime.stop())
    const metrics = await this.#serveMetrics(stack, runtime)
    signal.throwIfAborted()
    const server = stack.use(await this.#serve(runtime))
    this.#become('RUNNING')
    this.#listening.resolve(this.#options.socket ?? DEFAULT_SOCKET)
    this.#metricsListening.resolve(metrics)
    await aborted(signal)
    this.#become('DRAINING')
    await server.drain(runtime.limits.drainMs)
  }

  #serve(runtime: Runtime): Promise<SocketServer> {
    const { verbs, metrics, failures, clock } = runtime
    const { socket: path = DEFAULT_SOCKET } = this.#options
    const log = this.#log.child({ component: 'host.server' })
    const handle = createDispatcher({
      verbs,
      clock,
      log,
      failures,
      inspect: (request, signal) => this.#inspect(runtime, request, signal),
      observe: (outcome) => metrics.observe(outcome),
    })
    return SocketServer.listen({ path, log, handle })
  }

  async #inspect(runtime: Runtime, { dpu = false }: InspectRequest, signal: AbortSignal): Promise<HostInspection> {
    const { client, failures, ledger, limits, verbs } = runtime
    const { agent, journal, fallback, ipam } = verbs
    const host = inspectHost({
      node: this.node,
      state: this.#state,
      address: this.#options.agent.address,
      agent,
      journal,
      fallbacks: fallback.all(),
      ipam: ipam.all(),
      repairs: ledger.records,
      failures: failures.all,
    })
    return dpu ? { ...host, dpu: await inspectDpu(client, deadline(signal, limits.statusMs)) } : host
  }

  async #serveMetrics(stack: AsyncDisposableStack, { metrics, verbs }: Runtime): Promise<number | undefined> {
    const { metrics: listen } = this.#options
    if (listen === undefined) return undefined
    // The agent being away is no fault of this process: restarting it would not help.
    const health = (): { ok: boolean; text: string } => ({
      ok: this.#state === 'RUNNING',
      text: `${this.#state}, agent ${verbs.agent.connected ? 'connected' : 'not connected'}`,
    })
    return stack.use(
      await serveMetrics({ listen, registry: metrics.registry, health, log: this.#log.child({ component: 'host.metrics' }) }),
    ).port
  }

  /** The one place where the state changes. */
  #become(state: HostState): void {
    this.#log.info({ component: 'host', from: this.#state, to: state }, 'host state')
    this.#state = state
  }
}
