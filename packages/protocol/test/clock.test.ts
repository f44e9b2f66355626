import { systemClock } from '@cni-offload/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createOffloadClient, createOffloadServer } from '../src/index.ts'
import { explainConnection } from '../src/tls/explain.ts'
import { api, ATTACH, ctx, failure, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'

async function* items<T>(...all: T[]): AsyncGenerator<T, void, undefined> {
  yield* all
}

const DAY = 86_400_000
const JUMPS = { 'a day ahead': DAY, 'a day back': -DAY, 'ten years ahead': 3652 * DAY, 'ten years back': -3652 * DAY }

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

describe.each(Object.entries(JUMPS))('a wall clock that jumps %s', (_, by) => {
  // Only what tells the date: timers go on, as the kernel's do.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.now() }))
  afterEach(() => void vi.useRealTimers())
  const jump = (): void => void vi.setSystemTime(Date.now() + by)

  test('while calls run disturbs none of them, nor those that follow', async () => {
    const seen: (number | undefined)[] = []
    await using server = await createOffloadServer({
      listen: 'tcp://127.0.0.1:0',
      tls: certificates.agent,
      api: api({
        async attach(_call, { timeoutMs, signal }) {
          seen.push(timeoutMs)
          jump()
          await systemClock.sleep(50, signal)
          return { result: RESULT, port: 'p0' }
        },
        async *resync(wired) {
          for await (const { key } of wired) {
            jump()
            yield { key, action: 'kept' }
          }
        },
      }),
    })
    await using client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
    for (let n = 0; n < 2; n++) expect(await client.attach(ATTACH, ctx({ timeoutMs: 20_000 }))).toEqual({ result: RESULT, port: 'p0' })
    for (const left of seen) expect(left).toSatisfy((ms: number) => ms > 0 && ms <= 20_000)
    expect(await Array.fromAsync(client.resync(items(ATTACH), ctx({ timeoutMs: 20_000 })))).toEqual([{ key: KEY, action: 'kept' }])
  })

  test('does not keep a deadline from passing', async () => {
    let reason: unknown
    await using server = await createOffloadServer({
      listen: 'tcp://127.0.0.1:0',
      tls: certificates.agent,
      api: api({
        status: async () => {},
        async attach(_call, { signal }) {
          jump()
          await systemClock.sleep(60_000, signal).catch((error: unknown) => (reason = error))
          throw reason
        },
      }),
    })
    await using client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
    await client.status({}, ctx({ timeoutMs: 15_000 }))
    expect(await failure(client.attach(ATTACH, ctx({ timeoutMs: 1_000 })))).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    // Whichever comes first: the caller's cancellation, or the deadline by the agent's own clock.
    await expect.poll(() => (reason as { code?: string } | undefined)?.code).toMatch(/^(DEADLINE_EXCEEDED|CANCELLED)$/)
  })

  test('while a call waits for its connection neither stretches nor cuts its time', async () => {
    const serve = async (listen: string, attach: 'answers' | 'hangs') =>
      await createOffloadServer({
        listen,
        tls: certificates.agent,
        api: api({
          status: async () => {},
          attach: async (_call, { signal }) => {
            if (attach === 'hangs') await systemClock.sleep(100_000, signal)
            return { result: RESULT, port: 'p0' }
          },
        }),
      })
    // A clock that jumped back would stretch it, one that jumped ahead would cut it.
    for (const attach of by < 0 ? (['answers', 'hangs'] as const) : (['answers'] as const)) {
      const first = await serve('tcp://127.0.0.1:0', attach)
      await using client = createOffloadClient({ address: first.address, tls: certificates.host, node: NODE, connectTimeoutMs: 15_000 })
      await client.status({}, ctx({ timeoutMs: 15_000 }))
      await first[Symbol.asyncDispose]()
      const call = client.attach(ATTACH, ctx({ timeoutMs: attach === 'hangs' ? 2_500 : 10_000 }))
      call.catch(() => {})
      jump()
      await using _second = await serve(first.address, attach)
      if (attach === 'hangs') expect(await failure(call)).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
      else expect(await call).toEqual({ result: RESULT, port: 'p0' })
    }
  })
})

test('a certificate that is not valid by the clock is told with what the clock says, and what to do', () => {
  const now = Date.UTC(2036, 0, 2)
  expect(explainConnection(Object.assign(new Error('certificate has expired'), { code: 'CERT_HAS_EXPIRED' }), now)).toEqual({
    reason: "the agent's certificate has expired",
    hint: expect.stringMatching(/^By the clock of this host it is 2036-01-02T00:00:00.000Z\. Renew it with .*--role agent.*clocks/),
  })
  expect(explainConnection(new Error('connect ECONNREFUSED'), now).hint).not.toContain('2036')
})
