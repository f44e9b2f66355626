import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../contracts/logger.ts'
import { OffloadError } from '../errors/offload-error.ts'

/** Where `/metrics` comes from; a registry of prom-client is one. */
export interface MetricsSource {
  /** Media type of what {@link MetricsSource.metrics} gives. */
  readonly contentType: string
  /** All metrics as text. */
  metrics(): Promise<string>
}

/** Settings of {@link serveMetrics}. */
export interface MetricsServerOptions {
  /** `127.0.0.1:9401`, `[::1]:9401`, `localhost:9401`, with or without `tcp://`; port 0 takes a free one. */
  readonly listen: string
  /** What `/metrics` gives. */
  readonly registry: MetricsSource
  /** Whether `/healthz` answers 200 or 503, and the text of the answer. */
  readonly health: () => { readonly ok: boolean; readonly text: string }
  /** Log. */
  readonly log: Logger
}

/** A running HTTP server for Prometheus and health checks. Disposing it closes all its connections. */
export interface MetricsServer extends AsyncDisposable {
  /** Where it listens, `host:port` with the real port. */
  readonly address: string
  /** The real port. */
  readonly port: number
}

// Importing the module would also load an HTTP client: 60 ms of each daemon's start.
const { createServer } = process.getBuiltinModule('node:http')

const REQUEST_MS = 5_000
const TEXT = 'text/plain; charset=utf-8'

/**
 * Serves `/metrics` and `/healthz` over HTTP, on the given address only.
 *
 * @throws OffloadError INVALID_CONFIG when the address is malformed, IO_FAILURE when it cannot be listened on
 */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port } = parseListen(options.listen)
  const server = createServer({ headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS }, (request, response) => {
    respond(options, request, response).catch((error: unknown) => {
      options.log.error({ err: error, path: request.url }, 'metrics or health could not be told')
      answer(response, 500, 'failed; the log says why\n')
    })
  })
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `metrics.listen = ${JSON.stringify(options.listen)}`)
  }
  // Only a server on a pipe, or one that does not listen, has another kind of address.
  const bound = server.address() as AddressInfo
  const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return { address: `${name}:${bound.port}`, port: bound.port, [Symbol.asyncDispose]: () => close(server) }
}

async function respond({ registry, health }: MetricsServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.split('?')[0]
  if (request.method !== 'GET' && request.method !== 'HEAD') answer(response.setHeader('allow', 'GET, HEAD'), 405, 'only GET\n')
  else if (path === '/metrics') answer(response, 200, await registry.metrics(), registry.contentType)
  else if (path === '/healthz') {
    const { ok, text } = health()
    answer(response, ok ? 200 : 503, `${text}\n`)
  } else answer(response, 404, 'only /metrics and /healthz\n')
}

function answer(response: ServerResponse, status: number, body: string, type: string = TEXT): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

/**
 * Parses the address of a metrics server.
 *
 * @throws OffloadError INVALID_CONFIG
 */
export function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const found = /^(?:tcp:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(listen)
  const port = Number(found?.[3])
  const host = found?.[1] ?? found?.[2]
  if (host === undefined || port > 65_535)
    throw new OffloadError(
      'INVALID_CONFIG',
      `metrics.listen = ${JSON.stringify(listen)}: an address and a port are expected, such as 127.0.0.1:9401`,
    )
  return { host, port }
}
