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
        async attach(_call, { signal }) {
          jump()
          await systemClock.sleep(60_000, signal).catch((error: unknown) => (reason = error))
          throw reason
        },
      }),
    })
    await using client = createOffloadClient({ address: server.address, tls: certificates.host, node: NODE })
    expect(await failure(client.attach(ATTACH, ctx({ timeoutMs: 2_000 })))).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    // Whichever comes first: the caller's cancellation, or the deadline by the agent's own clock.
    await expect.poll(() => (reason as { code?: string } | undefined)?.code).toMatch(/^(DEADLINE_EXCEEDED|CANCELLED)$/)
  })

  test('while a call waits for a connection does not make it wait for ever', async () => {
    await using client = createOffloadClient({ address: 'tcp://127.0.0.1:9', tls: certificates.host, node: NODE })
    const waiting = failure(client.status({}, ctx({ timeoutMs: 500 })))
    jump()
    expect(await waiting).toMatchObject({ code: 'AGENT_UNREACHABLE' })
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
