import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Logger, OffloadError } from '@cni-offload/sdk'
import type { Registry } from 'prom-client'

/** A running HTTP server for Prometheus and health checks. */
export interface MetricsServer extends AsyncDisposable {
  /** Where it listens, `host:port` with the real port. */
  readonly address: string
}

/** What the server shows. */
export interface MetricsServerOptions {
  /** `host:port`, optionally with `tcp://` in front; port 0 takes a free one. */
  readonly listen: string
  /** Metrics for `/metrics`. */
  readonly registry: Registry
  /** Whether `/healthz` answers 200; its text says why or why not. */
  health(): { readonly ok: boolean; readonly text: string }
  /** Log. */
  readonly log: Logger
}

const parseListen = (listen: string): { host: string; port: number } => {
  const found = /^(?:tcp:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(listen)
  const port = Number(found?.[3])
  const host = found?.[1] ?? found?.[2]
  if (host === undefined || port > 65_535)
    throw new OffloadError(
      'INVALID_CONFIG',
      `metrics.listen = ${JSON.stringify(listen)}: host:port is expected, for example 127.0.0.1:9402`,
    )
  return { host, port }
}

const answer = (response: ServerResponse, status: number, type: string, text: string): void => {
  response.writeHead(status, { 'content-type': type }).end(text)
}

const listening = (server: Server, host: string, port: number): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve(server.address() as AddressInfo)
    })
  })

/**
 * Serves `/metrics` and `/healthz`.
 *
 * @throws OffloadError INVALID_CONFIG when the address is malformed or cannot be listened on
 */
export async function startMetricsServer({ listen, registry, health, log }: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port } = parseListen(listen)
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0]
    if (path === '/healthz') {
      const { ok, text } = health()
      answer(response, ok ? 200 : 503, 'text/plain; charset=utf-8', `${text}\n`)
    } else if (path === '/metrics') {
      registry.metrics().then(
        (text) => {
          answer(response, 200, registry.contentType, text)
        },
        (error: unknown) => {
          log.error({ err: error }, 'metrics could not be collected')
          answer(response, 500, 'text/plain; charset=utf-8', 'metrics could not be collected\n')
        },
      )
    } else answer(response, 404, 'text/plain; charset=utf-8', 'there are /metrics and /healthz\n')
  })
  const bound = await listening(server, host, port).catch((error: unknown) => {
    throw new OffloadError(
      'INVALID_CONFIG',
      `metrics.listen = ${JSON.stringify(listen)}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  })
  return {
    address: `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`,
    async [Symbol.asyncDispose]() {
      const closed = Promise.withResolvers<void>()
      server.close(() => {
        closed.resolve()
      })
      server.closeAllConnections()
      await closed.promise
    },
  }
}
