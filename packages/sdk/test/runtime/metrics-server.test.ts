import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Logger, silentLogger } from '../../src/index.ts'
import { type MetricsServer, parseListen, serveMetrics } from '../../src/runtime/index.ts'

const registry = { contentType: 'text/plain; version=0.0.4', metrics: async (): Promise<string> => 'up 1\n' }

describe('serveMetrics', () => {
  let stack: AsyncDisposableStack
  let server: MetricsServer
  let ok = true
  let source = registry
  const logged: string[] = []
  const log: Logger = { ...silentLogger, error: (_fields, message) => void logged.push(String(message)) }

  beforeEach(async () => {
    stack = new AsyncDisposableStack()
    ok = true
    source = registry
    logged.length = 0
    const listen = 'tcp://127.0.0.1:0'
    const current = { contentType: registry.contentType, metrics: () => source.metrics() }
    server = stack.use(await serveMetrics({ listen, registry: current, health: () => ({ ok, text: ok ? 'fine' : 'ill' }), log }))
  })
  afterEach(() => stack[Symbol.asyncDispose]())

  const ask = async (path: string, method = 'GET'): Promise<{ status: number; body: string; type: string | null }> => {
    const reply = await fetch(`http://${server.address}${path}`, { method })
    return { status: reply.status, body: await reply.text(), type: reply.headers.get('content-type') }
  }

  it('gives the metrics with their media type', async () => {
    expect(server.address).toBe(`127.0.0.1:${server.port}`)
    expect(await ask('/metrics')).toEqual({ status: 200, body: 'up 1\n', type: 'text/plain; version=0.0.4' })
    expect(await ask('/metrics?x=1')).toMatchObject({ status: 200 })
    expect(await ask('/metrics', 'HEAD')).toMatchObject({ status: 200, body: '' })
  })

  it('tells health by status and text', async () => {
    expect(await ask('/healthz')).toMatchObject({ status: 200, body: 'fine\n' })
    ok = false
    expect(await ask('/healthz')).toMatchObject({ status: 503, body: 'ill\n' })
  })

  it('has nothing else', async () => {
    expect(await ask('/')).toMatchObject({ status: 404 })
    expect(await ask('/metrics', 'POST')).toMatchObject({ status: 405 })
  })

  it('answers 500 and logs where metrics cannot be made, and goes on', async () => {
    source = { ...registry, metrics: () => Promise.reject(new Error('no gauge')) }
    expect(await ask('/metrics')).toMatchObject({ status: 500 })
    expect(logged).toHaveLength(1)
    source = registry
    expect(await ask('/metrics')).toMatchObject({ status: 200 })
  })

  it('lets go of idle connections when it is disposed', async () => {
    const idle = connect(server.port, '127.0.0.1')
    idle.on('error', () => {})
    await once(idle, 'connect')
    await ask('/healthz')
    const gone = once(idle, 'close')
    await server[Symbol.asyncDispose]()
    await gone
    await expect(fetch(`http://${server.address}/healthz`)).rejects.toThrow('fetch failed')
    stack = new AsyncDisposableStack()
  })

  it('names an address that cannot be listened on', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    stack.defer(() => void taken.close())
    const { port } = taken.address() as { port: number }
    const options = { registry, health: () => ({ ok: true, text: '' }), log }
    await expect(serveMetrics({ ...options, listen: `127.0.0.1:${port}` })).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringMatching(/metrics\.listen = "127\.0\.0\.1:\d+": .*EADDRINUSE/),
    })
    await expect(serveMetrics({ ...options, listen: 'nowhere' })).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  })
})

describe('parseListen', () => {
  it.each([
    ['127.0.0.1:9401', '127.0.0.1', 9401],
    ['tcp://[::1]:0', '::1', 0],
    ['localhost:80', 'localhost', 80],
  ])('takes %s', (text, host, port) => expect(parseListen(text)).toEqual({ host, port }))

  it.each(['9401', ':9401', '127.0.0.1:99999', 'http://x:1', '::1:5'])('refuses %s', (text) => {
    expect(() => parseListen(text)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(text) }))
  })
})
