import { OffloadError } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CallContext, OffloadApi } from '../src/api.ts'
import { createInMemoryClient, createOffloadClient, createOffloadServer } from '../src/index.ts'
import { api, ATTACH, ctx, failure, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

interface Pair extends AsyncDisposable {
  readonly client: OffloadApi
}

const sockets = async (served: OffloadApi): Promise<Pair> => {
  const server = await createOffloadServer({ listen: 'tcp://127.0.0.1:0', tls: certificates.agent, api: served })
  const client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

let sockNumber = 0

const unixSockets = async (served: OffloadApi): Promise<Pair> => {
  sockNumber += 1
  const server = await createOffloadServer({
    listen: `unix:${certificates.dir}/agent${sockNumber}.sock`,
    tls: certificates.agent,
    api: served,
  })
  const client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const inMemory = async (served: OffloadApi): Promise<Pair> => ({
  client: createInMemoryClient(served, { role: 'host', node: NODE }),
  async [Symbol.asyncDispose]() {},
})

/** Resolves with the reason when the signal aborts. */
const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true })
  })

async function* items<T>(...all: T[]): AsyncGenerator<T, void, undefined> {
  yield* all
}

const collect = async <T>(all: AsyncIterable<T>): Promise<T[]> => {
  const got: T[] = []
  for await (const one of all) got.push(one)
  return got
}

describe.each([
  ['TCP with mTLS', sockets],
  ['unix socket with mTLS', unixSockets],
  ['in memory', inMemory],
])('calls over %s', (_name, connect) => {
  test('every unary method carries its call and its reply unchanged', async () => {
    const seen: unknown[] = []
    const handshake = { protocol: { min: 1, max: 2 }, node: NODE, bootId: 'boot', features: ['a', 'b'] }
    const welcome = {
      protocol: 1,
      instanceId: 'run-1',
      networks: ['*'],
      features: [],
      kept: [{ network: 'fast', vfs: [{ device: 'soft0', index: 3 }] }],
    }
    const reply = { result: RESULT, port: 'port3' }
    await using pair = await connect(
      api({
        handshake: async (call) => (seen.push(call), welcome),
        attach: async (call) => (seen.push(call), reply),
        detach: async (call) => void seen.push(call),
        check: async (call) => void seen.push(call),
        status: async (call) => void seen.push(call),
      }),
    )
    const { client } = pair
    expect(await client.handshake(handshake, ctx())).toEqual(welcome)
    expect(await client.attach(ATTACH, ctx())).toEqual(reply)
    expect(await client.detach({ key: KEY, vf: ATTACH.vf }, ctx())).toBeUndefined()
    expect(await client.detach({ key: KEY }, ctx())).toBeUndefined()
    expect(await client.check({ key: KEY, expected: RESULT }, ctx())).toBeUndefined()
    expect(await client.status({ network: 'podnet' }, ctx())).toBeUndefined()
    expect(await client.status({}, ctx())).toBeUndefined()
    expect(seen).toStrictEqual([
      handshake,
      ATTACH,
      { key: KEY, vf: ATTACH.vf },
      { key: KEY },
      { key: KEY, expected: RESULT },
      { network: 'podnet' },
      {},
    ])
  })

  test('list has no limit of entries', async () => {
    const states = Array.from({ length: 3000 }, (_, index) => ({
      key: { ...KEY, containerId: `c${index}` },
      vf: { device: 'soft0', index },
      port: `p${index}`,
      state: (['attaching', 'attached', 'detaching'] as const)[index % 3]!,
      ...(index % 3 === 1 ? { result: RESULT } : {}),
    }))
    await using pair = await connect(api({ list: async () => states }))
    expect(await pair.client.list(ctx())).toStrictEqual(states)
  })

  test('the handler learns who calls, the request id and how long it has', async () => {
    const seen: CallContext[] = []
    await using pair = await connect(api({ status: async (_call, inner) => void seen.push(inner) }))
    await pair.client.status({}, ctx({ requestId: 'req-1', timeoutMs: 4000 }))
    await pair.client.status({}, ctx())
    const [given, standard] = seen
    expect(given?.peer).toEqual({ role: 'host', node: NODE })
    expect(given?.requestId).toBe('req-1')
    expect(given?.timeoutMs).toBeGreaterThan(0)
    expect(given?.timeoutMs).toBeLessThanOrEqual(4000)
    expect(standard?.requestId).toBeUndefined()
    expect(standard?.timeoutMs).toBeGreaterThan(4000)
    expect(standard?.timeoutMs).toBeLessThanOrEqual(10_000)
  })

  test('a signal is not aborted by the normal end of its call', async () => {
    const signals: AbortSignal[] = []
    await using pair = await connect(
      api({
        status: async (_call, inner) => void signals.push(inner.signal),
        list: async (inner) => (signals.push(inner.signal), []),
      }),
    )
    await pair.client.status({}, ctx())
    await pair.client.list(ctx())
    await pair.client.status({}, ctx())
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false, false])
  })

  test.each([
    ['NO_FREE_VF', 'no VF is free on soft0', 'Free one.'],
    ['INVALID_NETCONF', 'ümläut, 100 %, "quotes",\nnew line, 日本語', 'Zwei\nZeilen.'],
    ['INTERNAL', 'x'.repeat(6000), undefined],
    ['CHECK_FAILED', '', undefined],
  ] as const)('the error %s crosses unchanged', async (code, message, hint) => {
    const thrown = new OffloadError(code, message, hint === undefined ? {} : { hint })
    await using pair = await connect(
      api({
        attach: () => Promise.reject(thrown),
        list: () => Promise.reject(thrown),
        async *resync() {
          throw thrown
        },
      }),
    )
    const calls = [pair.client.attach(ATTACH, ctx()), pair.client.list(ctx()), collect(pair.client.resync(items(ATTACH), ctx()))]
    for (const error of await Promise.all(calls.map(failure))) {
      expect({ code: error.code, message: error.message, hint: error.hint }).toEqual({ code, message, hint })
    }
  })

  test('anything else that is thrown becomes INTERNAL', async () => {
    await using pair = await connect(api({ status: () => Promise.reject(new TypeError('undefined is not a function')) }))
    expect(await failure(pair.client.status({}, ctx()))).toMatchObject({ code: 'INTERNAL', message: 'undefined is not a function' })
    await using sync = await connect(
      api({
        status: () => {
          throw 'a text'
        },
      }),
    )
    expect(await failure(sync.client.status({}, ctx()))).toMatchObject({ code: 'INTERNAL', message: 'a text' })
  })

  test('a deadline ends the call on both sides', async () => {
    const reason = Promise.withResolvers<unknown>()
    await using pair = await connect(
      api({
        async attach(_call, inner) {
          reason.resolve(await aborted(inner.signal))
          throw inner.signal.reason
        },
        status: async () => {},
      }),
    )
    // Long enough for the call to arrive on a busy machine: only then is there a deadline on both sides.
    await pair.client.status({}, ctx())
    const error = await failure(pair.client.attach(ATTACH, ctx({ timeoutMs: 1_500 })))
    expect(error.code).toBe('DEADLINE_EXCEEDED')
    expect(await reason.promise).toMatchObject({ code: expect.stringMatching(/DEADLINE_EXCEEDED|CANCELLED/) })
  })

  test('cancelling reaches the handler and keeps the reason of who cancelled', async () => {
    const started = Promise.withResolvers<void>()
    const reason = Promise.withResolvers<unknown>()
    await using pair = await connect(
      api({
        async attach(_call, inner) {
          started.resolve()
          reason.resolve(await aborted(inner.signal))
          throw inner.signal.reason
        },
      }),
    )
    const abort = new AbortController()
    const call = failure(pair.client.attach(ATTACH, ctx({ signal: abort.signal })))
    await started.promise
    abort.abort(new OffloadError('NOT_READY', 'shutting down'))
    expect(await call).toMatchObject({ code: 'NOT_READY', message: 'shutting down' })
    expect(await reason.promise).toMatchObject({ code: 'CANCELLED' })
  })

  test('a signal that is aborted already sends nothing', async () => {
    let called = false
    await using pair = await connect(api({ status: async () => void (called = true) }))
    expect(await failure(pair.client.status({}, ctx({ signal: AbortSignal.abort() })))).toMatchObject({ code: 'CANCELLED' })
    expect(called).toBe(false)
  })

  test('what is not valid is refused by the receiver, naming the field', async () => {
    await using pair = await connect(
      api({ status: async () => {}, attach: async () => ({ result: { ...RESULT, mac: 'nonsense' }, port: 'p' }) }),
    )
    const { client } = pair
    const request = await failure(client.attach({ ...ATTACH, vlan: 5000 }, ctx()))
    expect(request.code).toBe('UNDECODABLE')
    expect(request.message).toContain('vlan = 5000')
    const reply = await failure(client.attach(ATTACH, ctx()))
    expect(reply.code).toBe('UNDECODABLE')
    expect(reply.message).toContain('mac = "nonsense"')
  })

  test('a call that is too large is refused before it is sent', async () => {
    await using pair = await connect(api())
    const error = await failure(pair.client.attach({ ...ATTACH, netconf: { text: 'x'.repeat(9 * 1024 * 1024) } }, ctx()))
    expect(error.code).toBe('INVALID_NETCONF')
    expect(error.message).toMatch(/AttachRequest has \d+ bytes/)
  })

  test('heartbeats go both ways, and the end of the host’s says that it stops', async () => {
    const heard: boolean[] = []
    await using pair = await connect(
      api({
        async *heartbeat(beats) {
          for await (const { stopping } of beats) {
            heard.push(stopping)
            yield { restarting: false }
          }
          yield { restarting: true }
        },
      }),
    )
    const answers = await collect(pair.client.heartbeat(items({ stopping: false }, { stopping: false }), ctx()))
    expect(heard).toEqual([false, false, true])
    expect(answers.map(({ restarting }) => restarting)).toEqual([false, false, false, true])
  })

  test('heartbeats of a host that goes away fail at the agent', async () => {
    const over = Promise.withResolvers<unknown>()
    await using pair = await connect(
      api({
        async *heartbeat(beats) {
          yield { restarting: false }
          try {
            for await (const _beat of beats);
          } catch (error) {
            over.resolve(error)
            throw error
          }
        },
      }),
    )
    const abort = new AbortController()
    const silent = async function* (): AsyncGenerator<{ stopping: boolean }> {
      yield { stopping: false }
      await aborted(abort.signal)
      yield { stopping: false }
    }
    const answers = pair.client.heartbeat(silent(), ctx({ signal: abort.signal }))[Symbol.asyncIterator]()
    expect(await answers.next()).toMatchObject({ value: { restarting: false } })
    abort.abort()
    await expect(answers.next()).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(await over.promise).toMatchObject({ code: 'CANCELLED' })
  })

  describe('resync', () => {
    const wired = (count: number): (typeof ATTACH)[] =>
      Array.from({ length: count }, (_, index) => ({ ...ATTACH, key: { ...KEY, containerId: `c${index}` } }))

    test('streams both ways', async () => {
      const events = [
        { key: KEY, action: 'reattached', result: RESULT },
        { key: { ...KEY, containerId: 'stray' }, action: 'detached' },
        { key: KEY, action: 'failed', error: { code: 'ADAPTER_FAILED', message: 'no' } },
      ] as const
      await using pair = await connect(
        api({
          async *resync(input) {
            for await (const call of input) yield { key: call.key, action: 'kept', result: RESULT }
            yield* events
          },
        }),
      )
      const got = await collect(pair.client.resync(items(...wired(500)), ctx()))
      expect(got).toHaveLength(503)
      expect(got[499]).toStrictEqual({ key: { ...KEY, containerId: 'c499' }, action: 'kept', result: RESULT })
      expect(got.slice(500)).toStrictEqual(events)
    })

    test('an input that was cut off never looks complete to the handler', async () => {
      const outcome = Promise.withResolvers<unknown>()
      await using pair = await connect(
        api({
          async *resync(input) {
            try {
              for await (const call of input) yield { key: call.key, action: 'kept' }
              outcome.resolve('complete')
            } catch (error) {
              outcome.resolve(error)
            }
          },
        }),
      )
      const abort = new AbortController()
      const never = new Promise<void>(() => {})
      const input = async function* (): AsyncGenerator<typeof ATTACH, void, undefined> {
        yield ATTACH
        abort.abort()
        await never
      }
      expect((await failure(collect(pair.client.resync(input(), ctx({ signal: abort.signal }))))).code).toBe('CANCELLED')
      expect(await outcome.promise).toMatchObject({ code: 'CANCELLED' })
    })

    test('an event comes while the host is still sending', async () => {
      const gate = Promise.withResolvers<void>()
      await using pair = await connect(
        api({
          async *resync(input) {
            for await (const call of input) yield { key: call.key, action: 'kept' }
          },
        }),
      )
      const input = async function* (): AsyncGenerator<typeof ATTACH, void, undefined> {
        yield ATTACH
        await gate.promise
        yield ATTACH
      }
      const events = pair.client.resync(input(), ctx())[Symbol.asyncIterator]()
      expect(await events.next()).toMatchObject({ value: { action: 'kept' } })
      gate.resolve()
      expect(await events.next()).toMatchObject({ value: { action: 'kept' } })
      expect(await events.next()).toMatchObject({ done: true })
    })

    test('an abort ends both directions and the input', async () => {
      const reason = Promise.withResolvers<unknown>()
      const returned = Promise.withResolvers<void>()
      await using pair = await connect(
        api({
          async *resync(input, inner) {
            void aborted(inner.signal).then(reason.resolve)
            for await (const call of input) yield { key: call.key, action: 'kept' }
          },
        }),
      )
      const abort = new AbortController()
      const input = async function* (): AsyncGenerator<typeof ATTACH, void, undefined> {
        try {
          for (;;) yield ATTACH
        } finally {
          returned.resolve()
        }
      }
      const error = await failure(
        (async () => {
          for await (const event of pair.client.resync(input(), ctx({ signal: abort.signal }))) {
            expect(event.action).toBe('kept')
            abort.abort()
          }
        })(),
      )
      expect(error.code).toBe('CANCELLED')
      expect(await reason.promise).toMatchObject({ code: 'CANCELLED' })
      await returned.promise
    })

    test('leaving early cancels the handler', async () => {
      const reason = Promise.withResolvers<unknown>()
      const finished = Promise.withResolvers<void>()
      await using pair = await connect(
        api({
          async *resync(input, inner) {
            void aborted(inner.signal).then(reason.resolve)
            try {
              for await (const call of input) yield { key: call.key, action: 'kept' }
            } finally {
              finished.resolve()
            }
          },
        }),
      )
      for await (const event of pair.client.resync(items(...wired(50)), ctx())) {
        expect(event.action).toBe('kept')
        break
      }
      await finished.promise
    })

    test('an input that fails is the error of the call', async () => {
      await using pair = await connect(
        api({
          async *resync(input) {
            for await (const call of input) yield { key: call.key, action: 'kept' }
          },
        }),
      )
      const input = async function* (): AsyncGenerator<typeof ATTACH, void, undefined> {
        yield ATTACH
        throw new OffloadError('JOURNAL_FAILURE', 'the disk is gone')
      }
      expect(await failure(collect(pair.client.resync(input(), ctx())))).toMatchObject({
        code: 'JOURNAL_FAILURE',
        message: 'the disk is gone',
      })
    })

    test('a handler may answer without reading its input', async () => {
      await using pair = await connect(
        api({
          async *resync() {
            yield { key: KEY, action: 'detached' }
          },
        }),
      )
      expect(await collect(pair.client.resync(items(...wired(2000)), ctx()))).toEqual([{ key: KEY, action: 'detached' }])
    })

    test('a slow reader holds the handler back instead of filling memory', async () => {
      let produced = 0
      await using pair = await connect(
        api({
          async *resync() {
            for (; produced < 200_000; produced += 1) yield { key: KEY, action: 'kept', result: RESULT }
          },
        }),
      )
      for await (const event of pair.client.resync(items(), ctx())) {
        expect(event.action).toBe('kept')
        break
      }
      expect(produced).toBeLessThan(100_000)
    })
  })
})
