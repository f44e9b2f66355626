import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeyedMutex } from '../../src/runtime/index.ts'

const never = new AbortController().signal
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('KeyedMutex', () => {
  it('excludes the same key, in order, and nothing else', async () => {
    const mutex = new KeyedMutex()
    const order: string[] = []
    const a = await mutex.acquire('a', never)
    const second = mutex.run('a', never, () => void order.push('second a'))
    const third = mutex.run('a', never, () => void order.push('third a'))
    await mutex.run('b', never, () => void order.push('b'))
    expect(order).toEqual(['b'])
    expect([mutex.isLocked('a'), mutex.isLocked('b'), mutex.size]).toEqual([true, false, 1])
    a[Symbol.dispose]()
    await Promise.all([second, third])
    expect(order).toEqual(['b', 'second a', 'third a'])
    expect(mutex.size).toBe(0)
  })

  it('forgets a key whose waiters gave up', async () => {
    const mutex = new KeyedMutex<number>()
    const held = await mutex.acquire(1, never)
    const controller = new AbortController()
    const waiting = mutex.acquire(1, controller.signal)
    controller.abort(new Error('gave up'))
    await expect(waiting).rejects.toThrow('gave up')
    expect(mutex.size).toBe(1)
    held[Symbol.dispose]()
    held[Symbol.dispose]()
    expect(mutex.size).toBe(0)
    await expect(mutex.acquire(1, controller.signal)).rejects.toThrow('gave up')
    expect(mutex.size).toBe(0)
  })

  it('does not let a stale second release unlock for somebody else', async () => {
    const mutex = new KeyedMutex()
    const first = await mutex.acquire('a', never)
    first[Symbol.dispose]()
    const second = await mutex.acquire('a', never)
    first[Symbol.dispose]()
    expect(mutex.isLocked('a')).toBe(true)
    let entered = false
    const third = mutex.run('a', never, () => void (entered = true))
    await turn()
    expect(entered).toBe(false)
    second[Symbol.dispose]()
    await third
  })

  it('never has two holders of one key and is empty afterwards', async () => {
    const job = fc.record({ key: fc.constantFrom('a', 'b', 'c'), turns: fc.nat(2), fails: fc.boolean(), abort: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 20 }), async (jobs) => {
        const mutex = new KeyedMutex()
        const inside = new Set<string>()
        let violated = false
        await Promise.allSettled(
          jobs.map(async ({ key, turns, fails, abort }) => {
            const controller = new AbortController()
            const work = mutex.run(key, controller.signal, async () => {
              violated ||= inside.has(key)
              inside.add(key)
              for (let at = 0; at < turns; at++) await turn()
              inside.delete(key)
              if (fails) throw new Error('work')
            })
            const aborted = abort ? turn().then(() => controller.abort()) : undefined
            await Promise.all([work, aborted])
          }),
        )
        expect(violated).toBe(false)
        expect(mutex.size).toBe(0)
      }),
    )
  })
})
