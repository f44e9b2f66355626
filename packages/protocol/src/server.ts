import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { type Logger, OffloadError, silentLogger } from '@cni-offload/sdk'
import { Server, type ServiceDefinition } from '@grpc/grpc-js'
import { parseAddress } from './address.ts'
import type { OffloadApi, PeerIdentity, TlsFiles } from './api.ts'
import { DESCRIPTOR_SET } from './gen/descriptor.ts'
import { OffloadService } from './gen/offload/v1/offload.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'
import { ActiveCalls } from './server/active-calls.ts'
import { createHandlers } from './server/handlers.ts'
import { watchTls } from './tls/files.ts'
import { ReloadableServerCredentials } from './tls/server-credentials.ts'

/** Settings of {@link createOffloadServer}. */
export interface OffloadServerOptions {
  /** Where to listen: `tcp://address:port` (port 0 for any free one), `tcp://[IPv6]:port` or `unix:/path`. */
  readonly listen: string
  /** Own certificates; read again when they change. */
  readonly tls: TlsFiles
  /** What is served. */
  readonly api: OffloadApi
  /** Throws an OffloadError if this host may not call. Without it every host with a certificate of the authority may. */
  authorize?(peer: PeerIdentity): void
  /** Where defects and reloads are logged. */
  readonly log?: Logger
}

/** A listening server. Disposing it stops at once; {@link OffloadServer.drain} lets calls end first. */
export interface OffloadServer extends AsyncDisposable {
  /** Where it listens, with the real port. A client can use it as it stands, unless it is a wildcard address. */
  readonly address: string
  /** What the health service answers for the whole server and for `offload.v1.Offload`. False at first. */
  setHealth(serving: boolean): void
  /**
   * Stops gracefully: not healthy; new calls are refused with AGENT_UNREACHABLE; calls under way may end within `graceMs`
   * milliseconds, then their signals abort and connections close. Resolves when everything is closed.
   */
  drain(graceMs: number): Promise<void>
}

/** How long a drain waits for connections to close when no call is under way any more, in milliseconds. */
const FLUSH_MS = 1000
/** As long as a stuck caller may hold a call's stream after its connection is dead, in milliseconds. */
const KEEPALIVE = { 'grpc.keepalive_time_ms': 1000, 'grpc.keepalive_timeout_ms': 2000 }

/** A socket file that nobody listens on is left from a crash and in the way; one that is alive is not ours to remove. */
async function clearStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  const alive =
    !found.isSocket() ||
    (await new Promise<boolean>((resolve) => {
      const probe = connect({ path }, () => resolve(true)).once('error', () => resolve(false))
      probe.once('connect', () => probe.destroy())
    }))
  if (alive) throw new OffloadError('IO_FAILURE', `unix:${path} is in use`, { hint: 'Stop whatever uses it, or choose another path.' })
  await unlink(path)
}

async function addCompanions(server: Server): Promise<(serving: boolean) => void> {
  // Imported here because the host daemon, which serves nothing, loads this package too.
  const [{ HealthImplementation }, { ReflectionService }, loader] = await Promise.all([
    import('grpc-health-check'),
    import('@grpc/reflection'),
    import('@grpc/proto-loader'),
  ])
  const health = new HealthImplementation({ '': 'NOT_SERVING', 'offload.v1.Offload': 'NOT_SERVING' })
  health.addToServer(server)
  new ReflectionService(loader.loadFileDescriptorSetFromBuffer(Buffer.from(DESCRIPTOR_SET, 'base64'))).addToServer(server)
  return (serving) => {
    const status = serving ? 'SERVING' : 'NOT_SERVING'
    health.setStatus('', status)
    health.setStatus('offload.v1.Offload', status)
  }
}

const asIs = (bytes: Buffer): Buffer => bytes

/** The generated service with messages left as bytes: they are decoded by the handlers, which can answer what is wrong. */
const SERVICE = Object.fromEntries(
  Object.entries(OffloadService).map(([name, method]) => [
    name,
    { ...method, requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
  ]),
) as unknown as ServiceDefinition

/**
 * Serves an {@link OffloadApi} over mTLS (TLS 1.3), with the standard health and reflection services beside it. Every
 * client needs a certificate of the authority; only those of role `host` may call.
 *
 * @throws OffloadError INVALID_CONFIG if address or certificates are not usable, IO_FAILURE if it can't listen
 */
export async function createOffloadServer(options: OffloadServerOptions): Promise<OffloadServer> {
  const { api, log = silentLogger } = options
  const address = parseAddress(options.listen)
  const path = 'path' in address.connect ? address.connect.path : undefined
  if (path !== undefined) await clearStaleSocket(path)
  const server = new Server({
    ...KEEPALIVE,
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_concurrent_streams': 1024,
    'grpc.enable_channelz': 0,
  })
  const active = new ActiveCalls()
  server.addService(SERVICE, createHandlers({ api, log, active, identities: new WeakMap(), authorize: options.authorize?.bind(options) }))
  const setHealth = await addCompanions(server)
  const tls = watchTls(options.tls, log, (material) => credentials.replace(material))
  const credentials = new ReloadableServerCredentials(tls.current)
  let port: number
  try {
    port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address.target, credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)))
    })
    if (path !== undefined) await chmod(path, 0o600)
  } catch (error) {
    tls[Symbol.dispose]()
    server.forceShutdown()
    throw OffloadError.from(error, 'IO_FAILURE', `can't listen on ${address.text}`)
  }
  const bound = path === undefined ? address.text.replace(/:\d+$/, `:${port}`) : address.text
  let closed: Promise<void> | undefined
  const shutDown = async (graceMs: number): Promise<void> => {
    setHealth(false)
    const end = performance.now() + graceMs
    await active.drain(graceMs)
    tls[Symbol.dispose]()
    // What is left are answers being flushed and idle watchers of health; those need no more than a moment.
    const moment = Math.max(0, Math.min(FLUSH_MS, end - performance.now()))
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => server.forceShutdown(), moment)
      server.tryShutdown(() => {
        clearTimeout(force)
        resolve()
      })
    })
  }
  return {
    address: bound,
    setHealth,
    drain: (graceMs) => (closed ??= shutDown(graceMs)),
    async [Symbol.asyncDispose]() {
      const draining = (closed ??= shutDown(0))
      server.forceShutdown()
      await draining
    },
  }
}
