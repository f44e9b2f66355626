import { type AttachmentKey, type Clock, silentLogger, systemClock } from '@cni-offload/sdk'
import { KeyedMutex } from '@cni-offload/sdk/runtime'
import { afterEach, describe, expect, it } from 'vitest'
import type { CleanupRow } from '../../src/journal/types.ts'
import { Drainer } from '../../src/undo/drainer.ts'
import type { Left } from '../../src/undo/undo.ts'
import { eventually } from '../support/lab.ts'

const LEFT: Left = { release: false, detach: true, reason: 'not yet' }
const rowOf = (seq: number, more: Partial<CleanupRow> = {}): CleanupRow => ({
  seq,
  key: { network: 'n', containerId: `c${seq}`, ifName: 'eth0' },
  vf: { device: 'd', index: seq },
  netns: '',
  netnsIdentity: '',
  ...LEFT,
  ...more,
})

describe('Drainer', () => {
  let stop: () => Promise<void> = async () => {}
  afterEach(() => stop())
  const start = (rows: CleanupRow[], attempt: (key: AttachmentKey) => Left | undefined | Promise<Left | undefined>) => {
    const tried: string[] = []
    const slept: number[] = []
    const world = { rows, connected: true, now: 0 }
    const clock: Clock = {
      now: () => world.now,
      monotonic: () => world.now,
      sleep: (ms, signal) => {
        slept.push(ms)
        return systemClock.sleep(2_000_000, signal)
      },
    }
    const undo = {
      async queued(key: AttachmentKey) {
        tried.push(key.containerId)
        const left = await attempt(key)
        if (left === undefined) world.rows = world.rows.filter((row) => row.key.containerId !== key.containerId)
        return left
      },
    }
    const locks = new KeyedMutex()
    const drainer = new Drainer({
      journal: { queue: () => world.rows },
      undo,
      locks,
      connected: () => world.connected,
      clock,
      log: silentLogger,
    })
    const end = new AbortController()
    const running = drainer.run(end.signal)
    stop = async () => {
      end.abort()
      await running
    }
    return { drainer, world, tried, slept, locks }
  }

  it('works rows off in order; one that fails keeps no other back', async () => {
    const { tried, world, slept } = start([rowOf(1), rowOf(2), rowOf(3)], ({ containerId }) => (containerId === 'c2' ? LEFT : undefined))
    await eventually(() => slept.length === 1, 'a round is over')
    expect(tried).toEqual(['c1', 'c2', 'c3'])
    expect(world.rows.map(({ seq }) => seq)).toEqual([2])
  })

  it('waits longer after each failure, up to a minute', async () => {
    const { drainer, world, slept, tried } = start([rowOf(1)], () => LEFT)
    for (let round = 1; round <= 8; round++) {
      await eventually(() => slept.length === round, `round ${round}`)
      world.now += slept.at(-1)!
      drainer.wake()
    }
    expect(slept).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
    await eventually(() => slept.length === 9, 'round 9')
    drainer.wake()
    await eventually(() => slept.length === 10, 'a wake-up before its time')
    expect(tried).toHaveLength(9)
  })

  it('tries at once when the agent is back', async () => {
    const { drainer, slept, tried } = start([rowOf(1)], () => LEFT)
    await eventually(() => slept.length === 1, 'the first try')
    drainer.wake(true)
    await eventually(() => slept.length === 2, 'the second try')
    expect(tried).toHaveLength(2)
  })

  it('leaves alone, without the agent, what needs only the agent', async () => {
    const { drainer, world, slept, tried } = start([], () => LEFT)
    await eventually(() => slept.length === 1, 'it waits')
    world.connected = false
    world.rows = [rowOf(1), rowOf(2, { release: true })]
    drainer.wake()
    await eventually(() => slept.length === 2, 'a round is over')
    expect(tried).toEqual(['c2'])
  })

  it('works on sixteen rows at a time, so that one that hangs holds up none', async () => {
    const hanging = Promise.withResolvers<undefined>()
    const rows = Array.from({ length: 20 }, (_, n) => rowOf(n))
    const { tried, world, slept } = start(rows, ({ containerId }) => (containerId === 'c0' ? hanging.promise : undefined))
    await eventually(() => world.rows.length === 1, 'all but one are done')
    expect(slept).toEqual([])
    hanging.resolve(undefined)
    await eventually(() => slept.length === 1, 'the round is over')
    expect(tried).toHaveLength(20)
    const stuck = Promise.withResolvers<undefined>()
    await stop()
    const many = start(rows, () => stuck.promise)
    await eventually(() => many.tried.length === 16, 'as many as may be')
    await new Promise((resolve) => setImmediate(resolve))
    expect(many.tried).toHaveLength(16)
    stuck.resolve(undefined)
  })

  it('leaves an attachment to whoever has its lock, for this round', async () => {
    const { drainer, world, slept, tried, locks } = start([], () => undefined)
    await eventually(() => slept.length === 1, 'it waits')
    const lock = await locks.acquire('n/c1/eth0', new AbortController().signal)
    world.rows = [rowOf(1), rowOf(2)]
    drainer.wake()
    await eventually(() => slept.length === 2, 'the round is over')
    expect(tried).toEqual(['c2'])
    expect(slept.at(-1), 'the next round is soon').toBe(1_000)
    lock[Symbol.dispose]()
    world.now += 1_000
    drainer.wake()
    await eventually(() => tried.length === 2, 'it has the lock')
  })
})
