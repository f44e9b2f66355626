import type { AttachCall, OffloadApi, ResyncEvent } from '@cni-offload/protocol'
import { type AttachmentKey, type Clock, OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { attachCall } from '../../src/agent/intent.ts'
import { Resyncer } from '../../src/agent/resyncer.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { eventually } from '../support/lab.ts'
import { leaseOf, RESULT, vfsOf } from '../support/row.ts'

const NEVER = new AbortController().signal
const keyOf = (name: string): AttachmentKey => leaseOf(name).intent.key
const FAILED = { action: 'failed', error: { code: 'ADAPTER_FAILED', message: 'not yet' } } as const

describe('Resyncer', () => {
  const stack = new DisposableStack()
  let stop = new AbortController()
  afterEach(() => stop.abort())

  /** A resyncer over a real journal with wired attachments; the agent does what the test says. */
  const start = (names: readonly string[], resync: OffloadApi['resync'], agentMs = 5_000) => {
    stop = new AbortController()
    const journal = stack.use(new SqliteJournal(':memory:', systemClock))
    journal.syncVfs(vfsOf(8))
    for (const name of names) {
      journal.lease(leaseOf(name))
      journal.attached(keyOf(name), RESULT)
      journal.wired(keyOf(name))
    }
    const sleeps: { ms: number; end: () => void }[] = []
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          sleeps.push({ ms, end: resolve })
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        }),
    }
    const limits = { agentMs, resyncMs: 60_000 }
    return { journal, sleeps, resyncer: new Resyncer({ client: { resync }, journal, limits, clock, log: silentLogger }) }
  }
  const answering = (answer: (key: AttachmentKey) => Omit<ResyncEvent, 'key'>, extra: readonly ResyncEvent[] = []): OffloadApi['resync'] =>
    async function* (wired) {
      for await (const { key } of wired) yield { key, ...answer(key) }
      yield* extra
    }

  it('repeats soon what failed, with growing random pauses of a minute at most, and then each minute', async () => {
    let rounds = 0
    const { resyncer, sleeps } = start(
      ['a', 'b'],
      answering(({ containerId }) => (containerId === 'a' && rounds < 8 ? FAILED : { action: 'kept' })),
    )
    const repeating = resyncer.repeat(await resyncer.run(NEVER), stop.signal)
    while (rounds < 10) {
      await eventually(() => sleeps.length === rounds + 1, `pause ${rounds}`)
      sleeps[rounds++]!.end()
    }
    stop.abort()
    await repeating
    const most = [1, 2, 4, 8, 16, 32, 60, 60].map((s) => s * 1_000)
    most.forEach((ms, n) => {
      expect(sleeps[n]!.ms).toBeGreaterThanOrEqual(ms / 2)
      expect(sleeps[n]!.ms).toBeLessThan(ms)
    })
    expect(new Set(most.map((ms, n) => sleeps[n]!.ms / ms)).size, 'random').toBeGreaterThan(4)
    expect(sleeps.slice(8).map(({ ms }) => ms)).toEqual(Array(sleeps.length - 8).fill(60_000))
  })

  it('repeats a resync that broke off', async () => {
    let broken = true
    const { resyncer, sleeps } = start(['a'], async function* (wired) {
      for await (const { key } of wired) yield { key, action: 'kept' }
      if (broken) throw new OffloadError('DEADLINE_EXCEEDED', 'too slow')
    })
    const repeating = resyncer.repeat(false, stop.signal)
    for (const round of [0, 1]) {
      await eventually(() => sleeps.length === round + 1, `pause ${round}`)
      sleeps[round]!.end()
      if (round === 1) broken = false
    }
    await eventually(() => sleeps.length === 3, 'the repetition is over')
    stop.abort()
    await repeating
    expect(sleeps.map(({ ms }) => ms < 1_000)).toEqual([false, true, false])
  })

  it.each<[string, Omit<ResyncEvent, 'key'>, boolean]>([
    ['failed for the moment', FAILED, true],
    ['failed for good', { action: 'failed', error: { code: 'INVALID_NETCONF', message: 'no' } }, false],
    ['was kept', { action: 'kept' }, false],
    ['had done to it what only a newer agent knows', { action: 'unknown' }, true],
    ['was made again', { action: 'reattached' }, false],
    ['was taken for a stray although it lives', { action: 'detached' }, true],
  ])('knows whether to repeat after an attachment that %s', async (_what, answer, again) => {
    const { resyncer } = start(
      ['a'],
      answering(() => answer),
    )
    expect(await resyncer.run(NEVER)).toBe(again)
  })

  it('repeats when the agent made what has just ended, or did nobody knows what, not when it detached a stray', async () => {
    const stray = keyOf('stray')
    expect(
      await start(
        [],
        answering(() => FAILED, [{ key: stray, action: 'detached' }]),
      ).resyncer.run(NEVER),
    ).toBe(false)
    expect(
      await start(
        [],
        answering(() => FAILED, [{ key: stray, action: 'reattached' }]),
      ).resyncer.run(NEVER),
    ).toBe(true)
    expect(
      await start(
        [],
        answering(() => FAILED, [{ key: stray, action: 'unknown' }]),
      ).resyncer.run(NEVER),
    ).toBe(true)
  })

  it('names an attach that is under way, so that it is no stray', async () => {
    const named: AttachCall[] = []
    const { resyncer, journal } = start(['a'], async function* (wired) {
      for await (const call of wired) {
        named.push(call)
        yield { key: call.key, action: 'reattached' }
      }
    })
    const lease = journal.lease(leaseOf('b'))
    const call = attachCall(lease, lease.vfMac)
    const again = await resyncer.attaching(call, () => resyncer.run(NEVER))
    expect(named.map(({ key }) => key.containerId)).toEqual(['a', 'b'])
    expect(named[0]?.had, 'what the pod has').toEqual(RESULT)
    expect(named[1], 'it has nothing yet').toEqual(call)
    expect(again, 'it lives').toBe(false)
    await resyncer.run(NEVER)
    expect(
      named.slice(2).map(({ key }) => key.containerId),
      'it is over',
    ).toEqual(['a'])
  })

  /** A resync that stops after the first name, until `go`; then it asks for the rest. */
  const stepwise = () => {
    const [reached, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const named: string[] = []
    const resync: OffloadApi['resync'] = async function* (wired) {
      const list = wired[Symbol.asyncIterator]()
      for (let step = await list.next(); step.done !== true; step = await list.next()) {
        named.push(step.value.key.containerId)
        reached.resolve()
        await go.promise
        yield { key: step.value.key, action: 'kept' }
      }
    }
    return { resync, named, reached: reached.promise, go: go.resolve }
  }

  it('lets an attachment end at once whose turn has not come, and leaves it out', async () => {
    const { resync, named, reached, go } = stepwise()
    const { resyncer } = start(['a', 'b', 'c'], resync)
    const run = resyncer.run(NEVER)
    await reached
    await resyncer.detaching(keyOf('b'), NEVER)
    await resyncer.detaching(keyOf('unknown'), NEVER)
    go()
    await run
    expect(named).toEqual(['a', 'c'])
    await resyncer.detaching(keyOf('a'), NEVER)
  })

  it('keeps the end of an attachment back until the agent has reported on it', async () => {
    const { resync, reached, go } = stepwise()
    const { resyncer } = start(['a'], resync)
    const run = resyncer.run(NEVER)
    await reached
    let over = false
    const detaching = resyncer.detaching(keyOf('a'), NEVER).then(() => (over = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(over).toBe(false)
    go()
    await detaching
    await run
  })

  it('keeps it back no longer than the resync lasts', async () => {
    const [reached, broken] = [Promise.withResolvers<void>(), Promise.withResolvers<never>()]
    const { resyncer } = start(['a'], async function* (wired) {
      for await (const { key } of wired) {
        reached.resolve()
        await broken.promise
        yield { key, action: 'kept' }
      }
    })
    const run = resyncer.run(NEVER)
    await reached.promise
    const detaching = resyncer.detaching(keyOf('a'), NEVER)
    broken.reject(new OffloadError('AGENT_UNREACHABLE', 'gone'))
    await expect(run).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' })
    await detaching
  })

  it('gives up on an agent that does not come to it, and heeds the caller', async () => {
    const { resync, reached, go } = stepwise()
    const { resyncer } = start(['a'], resync, 20)
    const run = resyncer.run(NEVER)
    await reached
    await expect(resyncer.detaching(keyOf('a'), NEVER)).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('net/a/eth0'),
    })
    const caller = AbortSignal.abort(new OffloadError('CANCELLED', 'gone'))
    await expect(resyncer.detaching(keyOf('a'), caller)).rejects.toMatchObject({ code: 'CANCELLED' })
    go()
    await run
  })
})
