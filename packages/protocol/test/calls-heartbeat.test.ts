import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OffloadApi } from '../src/api.ts'
import { api, ctx, type Pki, pki } from './fixture.ts'
import { aborted, collect, items, type Pair, TRANSPORTS } from './support/transports.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

describe.each(TRANSPORTS)('heartbeats over %s', (_name, open) => {
  const connect = (served: OffloadApi): Promise<Pair> => open(served, certificates)

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
})
