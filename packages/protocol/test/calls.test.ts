import { OffloadError } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CallContext, OffloadApi } from '../src/api.ts'
import { api, ATTACH, ctx, failure, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'
import { aborted, collect, items, type Pair, TRANSPORTS } from './support/transports.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

describe.each(TRANSPORTS)('calls over %s', (_name, open) => {
  const connect = (served: OffloadApi): Promise<Pair> => open(served, certificates)

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
})
