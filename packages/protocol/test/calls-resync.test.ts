import { OffloadError } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OffloadApi } from '../src/api.ts'
import { api, ATTACH, ctx, failure, KEY, type Pki, pki, RESULT } from './fixture.ts'
import { aborted, collect, items, type Pair, TRANSPORTS } from './support/transports.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

describe.each(TRANSPORTS)('resync over %s', (_name, open) => {
  const connect = (served: OffloadApi): Promise<Pair> => open(served, certificates)

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
