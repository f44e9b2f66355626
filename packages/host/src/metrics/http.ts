import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { OffloadError } from '@cni-offload/sdk'
import type { Registry } from 'prom-client'

/** Settings of {@link serveMetrics}. */
export interface MetricsServerOptions {
  /** `127.0.0.1:9401`, `[::1]:9401`, with or without `tcp://`. */
  readonly listen: string
  /** What `/metrics` gives. */
  readonly registry: Registry
  /** Whether `/healthz` answers 200, and the word that it answers. */
  readonly health: () => { readonly ok: boolean; readonly text: string }
}

/** A running metrics server. */
export interface MetricsServer extends AsyncDisposable {
  /** Port that it listens on. */
  readonly port: number
}

/** `/metrics` and `/healthz` over HTTP, on the given address only. @throws OffloadError INVALID_CONFIG, IO_FAILURE */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port } = parseListen(options.listen)
  const server = createServer((request, response) => {
    respond(options, request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined)
    })
  })
  server.headersTimeout = 5_000
  server.requestTimeout = 5_000
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `metrics.listen = ${options.listen}`)
  }
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : port, [Symbol.asyncDispose]: () => close(server) }
}

async function respond({ registry, health }: MetricsServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const send = (code: number, body: string, type = 'text/plain; charset=utf-8'): void => {
    response.writeHead(code, { 'content-type': type }).end(body)
  }
  if (request.method !== 'GET') return send(405, 'only GET\n')
  if (request.url === '/metrics') return send(200, await registry.metrics(), registry.contentType)
  if (request.url !== '/healthz') return send(404, 'only /metrics and /healthz\n')
  const { ok, text } = health()
  send(ok ? 200 : 503, `${text}\n`)
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

/** @throws OffloadError INVALID_CONFIG */
export function parseListen(listen: string): { host: string; port: number } {
  const match = /^(?:tcp:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(listen)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || port > 65_535)
    throw new OffloadError(
      'INVALID_CONFIG',
      `metrics.listen = ${JSON.stringify(listen)}: an address and a port are expected, such as 127.0.0.1:9401`,
    )
  return { host, port }
}
