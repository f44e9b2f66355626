import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ClientState, createOffloadClient, createOffloadServer, type OffloadClient, type OffloadServer } from '../src/index.ts'
import { api, ATTACH, ctx, failure, NODE, type Pki, pki, RESULT } from './fixture.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

const serve = (listen = 'tcp://127.0.0.1:0', over: Parameters<typeof api>[0] = { status: async () => {} }): Promise<OffloadServer> =>
  createOffloadServer({ listen, tls: certificates.agent, api: api(over) })

const dial = (address: string, connectTimeoutMs = 500): OffloadClient =>
  createOffloadClient({ address, tls: certificates.host, node: NODE, connectTimeoutMs, keepalive: { intervalMs: 200, timeoutMs: 1_000 } })

/** A TCP server that does with each connection what it is told. */
const listener = async (onConnection: (socket: Socket) => void): Promise<{ readonly address: string } & AsyncDisposable> => {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket.on('error', () => {}))
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Passes bytes to a server until it is frozen; then it keeps connections open and passes nothing. */
const wire = async (to: string): Promise<{ readonly address: string; freeze(): void } & AsyncDisposable> => {
  const { port, hostname } = new URL(to)
  const sockets: Socket[] = []
  const { connect } = await import('node:net')
  const front = await listener((socket) => {
    const back = connect({ host: hostname, port: Number(port) }).on('error', () => {})
    sockets.push(socket, back)
    socket.pipe(back).pipe(socket)
  })
  return {
    address: front.address,
    freeze() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await front[Symbol.asyncDispose]()
    },
  }
}

describe('without an agent', () => {
  test('a call fails with address, cause and remedy, at once while the outage lasts', async () => {
    const gone = await serve()
    await gone[Symbol.asyncDispose]()
    await using client = dial(gone.address, 300)
    const error = await failure(client.attach(ATTACH, ctx()))
    expect(error.code).toBe('AGENT_UNREACHABLE')
    expect(error.message).toBe(
      `the agent at ${gone.address} can't be reached: nothing listens there (connect ECONNREFUSED ${new URL(gone.address).host})`,
    )
    expect(error.hint).toMatch(/Check that the agent runs/)
    expect(client.state()).toBe('unreachable')
    // Many calls during an outage do not wait each: with a wait of 300 ms they would need a minute.
    for (let index = 0; index < 200; index += 1)
      expect((await failure(client.status({}, ctx({ timeoutMs: 60_000 })))).code).toBe('AGENT_UNREACHABLE')
  })

  test('something that is not TLS is told as such', async () => {
    await using other = await listener((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))
    await using client = dial(other.address)
    expect((await failure(client.status({}, ctx()))).message).toMatch(/does not speak TLS/)
  })

  test('a peer that accepts and stays silent is given up', async () => {
    await using other = await listener(() => {})
    await using client = dial(other.address, 200)
    const error = await failure(client.status({}, ctx()))
    expect(error.code).toBe('AGENT_UNREACHABLE')
    await client.waitReady(AbortSignal.timeout(400)).catch(() => {})
    expect((await failure(client.status({}, ctx()))).message).toMatch(/accepts connections but does not speak TLS/)
  })

  test('the deadline of a call bounds the wait for a connection', async () => {
    await using other = await listener(() => {})
    await using client = dial(other.address, 60_000)
    expect((await failure(client.status({}, ctx({ timeoutMs: 100 })))).code).toMatch(/DEADLINE_EXCEEDED|AGENT_UNREACHABLE/)
  })

  test('waiting ends with the cause at a timeout, with the reason at an abort', async () => {
    const gone = await serve()
    await gone[Symbol.asyncDispose]()
    await using client = dial(gone.address)
    expect(await failure(client.waitReady(AbortSignal.timeout(200)))).toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    expect(await failure(client.waitReady(AbortSignal.abort()))).toMatchObject({ code: 'CANCELLED' })
  })

  test('an unusable address or node is refused', () => {
    for (const address of [
      '127.0.0.1:1',
      'tcp://127.0.0.1',
      'tcp://h:99999',
      'unix:relative',
      `unix:/${'x'.repeat(108)}`,
      'tcp://::1:80',
      '',
    ])
      expect(() => dial(address)).toThrow(/address = .*expected (tcp:\/\/host:port|unix:)/)
    expect(() => createOffloadClient({ address: 'tcp://127.0.0.1:1', tls: certificates.host, node: 'a/b' })).toThrow(/node = "a\/b"/)
  })
})

describe('with an agent that goes', () => {
  test('a call under way fails with AGENT_UNREACHABLE when the server is killed, and calls work when it is back', async () => {
    const started = Promise.withResolvers<void>()
    const first = await serve(undefined, {
      attach: async () => {
        started.resolve()
        return await new Promise(() => {})
      },
    })
    await using client = dial(first.address)
    const call = failure(client.attach(ATTACH, ctx({ timeoutMs: 60_000 })))
    await started.promise
    await first[Symbol.asyncDispose]()
    expect((await call).code).toBe('AGENT_UNREACHABLE')
    await using second = await serve(first.address, { attach: async () => ({ result: RESULT, port: 'p' }) })
    await client.waitReady(AbortSignal.timeout(10_000))
    expect(await client.attach(ATTACH, ctx())).toEqual({ result: RESULT, port: 'p' })
    expect(second.address).toBe(first.address)
  })

  test('a call that comes in the gap of a quick restart waits for it', async () => {
    const first = await serve()
    await using client = dial(first.address, 5000)
    await client.status({}, ctx())
    await first[Symbol.asyncDispose]()
    const call = client.status({}, ctx())
    await using second = await serve(first.address)
    await call
    expect(second.address).toBe(first.address)
  })

  test('a peer that falls silent is noticed by keepalive, with and without a call', async () => {
    await using server = await serve(undefined, { attach: () => new Promise(() => {}) })
    await using between = await wire(server.address)
    await using client = dial(between.address)
    await client.waitReady(AbortSignal.timeout(10_000))
    const call = failure(client.attach(ATTACH, ctx({ timeoutMs: 60_000 })))
    between.freeze()
    expect((await call).code).toBe('AGENT_UNREACHABLE')

    await using again = await wire(server.address)
    await using idle = dial(again.address)
    await idle.waitReady(AbortSignal.timeout(10_000))
    again.freeze()
    for await (const state of idle.states(AbortSignal.timeout(10_000))) if (state !== 'ready') break
    expect(idle.state()).not.toBe('ready')
  })

  test('a call that the agent has seen is not repeated behind the back of the caller', async () => {
    let calls = 0
    let second: Promise<OffloadServer> | undefined
    const attach = async (): Promise<never> => {
      calls += 1
      if (calls === 1) second = restart()
      return await new Promise(() => {})
    }
    const first = await serve(undefined, { attach })
    const restart = async (): Promise<OffloadServer> => {
      await first[Symbol.asyncDispose]()
      return await serve(first.address, { attach, status: async () => {} })
    }
    await using client = dial(first.address, 5000)
    await client.waitReady(AbortSignal.timeout(10_000))
    expect((await failure(client.attach(ATTACH, ctx({ timeoutMs: 5000 })))).code).toBe('AGENT_UNREACHABLE')
    await using back = await second!
    await client.waitReady(AbortSignal.timeout(10_000))
    await client.status({}, ctx())
    expect([calls, back.address]).toEqual([1, first.address])
  })

  test('what keeps a connection from standing names the address, from the first attempt on', async () => {
    const server = await serve()
    await using client = dial(server.address)
    expect(client.obstacle()?.message).toContain(server.address)
    await client.waitReady(AbortSignal.timeout(10_000))
    expect(client.obstacle()).toBeUndefined()
    await server[Symbol.asyncDispose]()
    for await (const state of client.states(AbortSignal.timeout(10_000))) if (state === 'unreachable') break
    expect(client.obstacle()).toMatchObject({ code: 'AGENT_UNREACHABLE', message: expect.stringContaining('nothing listens there') })
    expect(client.obstacle()?.message).toContain(server.address)
  })

  test('every state is seen, also one that did not last', async () => {
    const first = await serve()
    await using client = dial(first.address)
    const seen: ClientState[] = []
    const watching = (async () => {
      for await (const state of client.states(new AbortController().signal)) seen.push(state)
    })()
    await client.waitReady(AbortSignal.timeout(10_000))
    await first[Symbol.asyncDispose]()
    await using second = await serve(first.address)
    for await (const state of client.states(AbortSignal.timeout(10_000))) if (state === 'ready' && seen.length > 2) break
    await client.waitReady(AbortSignal.timeout(10_000))
    await client[Symbol.asyncDispose]()
    await watching
    expect(seen[0]).toBe('connecting')
    expect(seen.filter((state) => state === 'ready')).toHaveLength(2)
    expect(seen.at(-1)).toBe('closed')
    expect(second.address).toBe(first.address)
  })

  test('a closed client says so', async () => {
    await using server = await serve()
    const client = dial(server.address)
    await client.waitReady(AbortSignal.timeout(10_000))
    await client[Symbol.asyncDispose]()
    expect(await failure(client.status({}, ctx()))).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('closed') })
    expect(client.state()).toBe('closed')
  })
})

describe('drain', () => {
  test('lets a call end, takes no more', async () => {
    const started = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const server = await serve(undefined, {
      attach: async () => {
        started.resolve()
        await gate.promise
        return { result: RESULT, port: 'p' }
      },
      status: async () => {},
    })
    await using client = dial(server.address, 200)
    const call = client.attach(ATTACH, ctx())
    await started.promise
    const drained = server.drain(60_000)
    expect((await failure(client.status({}, ctx()))).code).toBe('AGENT_UNREACHABLE')
    gate.resolve()
    expect(await call).toEqual({ result: RESULT, port: 'p' })
    await drained
  })

  test('aborts what does not end within the grace time', async () => {
    const aborted = Promise.withResolvers<unknown>()
    const started = Promise.withResolvers<void>()
    const server = await serve(undefined, {
      attach: (_call, inner) => {
        started.resolve()
        inner.signal.addEventListener('abort', () => aborted.resolve(inner.signal.reason))
        return new Promise(() => {})
      },
    })
    await using client = dial(server.address)
    const call = failure(client.attach(ATTACH, ctx({ timeoutMs: 60_000 })))
    await started.promise
    await server.drain(50)
    expect(await aborted.promise).toMatchObject({ code: 'CANCELLED' })
    expect((await call).code).toBe('AGENT_UNREACHABLE')
    await server.drain(50)
  })
})

describe('listening', () => {
  test('an address in use is told', async () => {
    await using server = await serve()
    expect(await failure(serve(server.address))).toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining(`can't listen on ${server.address}`),
    })
  })

  test('a socket file left by a crash is replaced, a live one is not', async () => {
    const path = `${certificates.dir}/stale.sock`
    const { spawnSync } = await import('node:child_process')
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script])
    await using server = await serve(`unix:${path}`)
    expect(await failure(serve(`unix:${path}`))).toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining('is in use') })
    const { stat, writeFile } = await import('node:fs/promises')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    await writeFile(`${certificates.dir}/file`, 'mine')
    expect(await failure(serve(`unix:${certificates.dir}/file`))).toMatchObject({ code: 'IO_FAILURE' })
    expect(server.address).toBe(`unix:${path}`)
  })

  test('IPv6', async () => {
    await using server = await serve('tcp://[::1]:0')
    expect(server.address).toMatch(/^tcp:\/\/\[::1\]:\d+$/)
    await using client = dial(server.address)
    await client.status({}, ctx())
  })
})
