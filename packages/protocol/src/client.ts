import { type Logger, OffloadError, silentLogger } from '@cni-offload/sdk'
import { Channel, Client } from '@grpc/grpc-js'
import { parseAddress } from './address.ts'
import type { AttachmentState, CallContext, OffloadApi, TlsFiles } from './api.ts'
import { bidi, type CallDeps, serverStream, unary } from './client/calls.ts'
import { type ClientState, Link } from './client/link.ts'
import { type Method, METHODS } from './codec/methods.ts'
import { NODE_NAME } from './identity.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'
import { ReloadableChannelCredentials } from './tls/channel-credentials.ts'
import { explainConnection } from './tls/explain.ts'
import { watchTls } from './tls/files.ts'

/** Settings of {@link createOffloadClient}. */
export interface OffloadClientOptions {
  /** Where the agent listens: `tcp://host:port`, `tcp://[IPv6]:port` or `unix:/path`. */
  readonly address: string
  /** Own certificates; read again when they change. */
  readonly tls: TlsFiles
  /** Node whose agent it has to be: the server's certificate must name `spiffe://cni-offload/agent/<node>`. */
  readonly node: string
  /** Where changes of the connection are logged. */
  readonly log?: Logger
  /** Default deadline of a call in milliseconds, 10 000. A resync's is 60 times that. */
  readonly timeoutMs?: number
  /** How long TCP, TLS and a call without a connection wait for one, in milliseconds, 1000. */
  readonly connectTimeoutMs?: number
  /** Pause between pings and how long an answer may take, in milliseconds, 1000 and 1500: a dead agent is noticed after their sum. */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number }
}

/** The agent as the host daemon sees it. */
export interface OffloadClient extends OffloadApi, AsyncDisposable {
  /** Where the connection stands. */
  state(): ClientState
  /**
   * Resolves when the connection is ready.
   *
   * @throws OffloadError CANCELLED when the signal aborts, AGENT_UNREACHABLE with the cause when it aborts by a timeout
   */
  waitReady(signal: AbortSignal): Promise<void>
  /** Why there is no connection now, naming the address (AGENT_UNREACHABLE, or CANCELLED once disposed); undefined while there is one. */
  obstacle(): OffloadError | undefined
  /** The state now and every one that follows, none left out: each `ready` after another state is a new connection. */
  states(signal: AbortSignal): AsyncIterable<ClientState>
}

const DEFAULT_TIMEOUT_MS = 10_000
const RESYNC_FACTOR = 60

/**
 * A client with one warm HTTP/2 connection over mTLS (TLS 1.3). It connects at once and again whenever it has to, at
 * intervals of at most one second. Calls fail with AGENT_UNREACHABLE, naming address and cause, when there has been no
 * connection for longer than `connectTimeoutMs`.
 *
 * @throws OffloadError INVALID_CONFIG if address, node or certificates are not usable
 */
export function createOffloadClient(options: OffloadClientOptions): OffloadClient {
  const { node, log = silentLogger, connectTimeoutMs = 1000, keepalive = { intervalMs: 1000, timeoutMs: 1500 } } = options
  const address = parseAddress(options.address)
  if (!NODE_NAME.test(node)) throw new OffloadError('INVALID_CONFIG', `node = ${JSON.stringify(node)}: expected a Kubernetes node name`)
  let onFailure = (_error: Error): void => {}
  const tls = watchTls(options.tls, log, (material) => credentials.replace(material))
  const expected = { role: 'agent', node } as const
  const credentials = new ReloadableChannelCredentials({
    address,
    expected,
    material: tls.current,
    connectTimeoutMs,
    onFailure: (error) => onFailure(error),
  })
  const channel = new Channel(address.target, credentials, {
    'grpc.keepalive_time_ms': keepalive.intervalMs,
    'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
    'grpc.dns_min_time_between_resolutions_ms': 1000,
    'grpc.client_idle_timeout_ms': 0x7fff_ffff,
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
    // A proxy from the environment has no business between a host and its own card.
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
  })
  const link = new Link({
    channel,
    address: address.text,
    patienceMs: connectTimeoutMs,
    onState(state, failure) {
      if (state === 'ready') credentials.confirm()
      if (state === 'unreachable') log.warn({ address: address.text, err: failure, ...explainConnection(failure) }, 'agent unreachable')
      else log.info({ address: address.text }, `agent ${state}`)
    },
  })
  onFailure = link.failed
  const client = new Client(address.target, credentials, { channelOverride: channel })
  const deps: CallDeps = { client, link, address: address.text }
  const timeoutOf = (ctx: CallContext): number => ctx.timeoutMs ?? options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const call = <Call, Reply>(method: Method<Call, Reply>, message: Call, ctx: CallContext): Promise<Reply> =>
    unary(deps, method, message, ctx, timeoutOf(ctx))
  return {
    handshake: (message, ctx) => call(METHODS.handshake, message, ctx),
    attach: (message, ctx) => call(METHODS.attach, message, ctx),
    detach: (message, ctx) => call(METHODS.detach, message, ctx),
    check: (message, ctx) => call(METHODS.check, message, ctx),
    status: (message, ctx) => call(METHODS.status, message, ctx),
    async list(ctx) {
      const states: AttachmentState[] = []
      for await (const state of serverStream(deps, METHODS.list, undefined, ctx, timeoutOf(ctx))) states.push(state)
      return states
    },
    resync: (wired, ctx) => bidi(deps, METHODS.resync, wired, 'complete', ctx, ctx.timeoutMs ?? timeoutOf(ctx) * RESYNC_FACTOR),
    heartbeat: (beats, ctx) => bidi(deps, METHODS.heartbeat, beats, { stopping: true }, ctx, Infinity),
    state: () => link.state,
    waitReady: (signal) => link.ready(signal),
    obstacle: () => (link.state === 'ready' ? undefined : link.unreachable()),
    states: (signal) => link.states(signal),
    [Symbol.asyncDispose]() {
      tls[Symbol.dispose]()
      link.close()
      return Promise.resolve()
    },
  }
}
