import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Limiter } from '../../src/runtime/index.ts'

const never = new AbortController().signal
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('Limiter', () => {
  it.each([0, -1, 1.5, Number.NaN])('refuses the limit %d', (limit) => {
    expect(() => new Limiter(limit)).toThrow(`limit = ${limit}: an integer of at least 1 is needed`)
  })

  it('admits up to its limit, then first come first served', async () => {
    const limiter = new Limiter(2)
    const order: number[] = []
    const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>())
    const runs = gates.map((gate, at) =>
      limiter.run(never, async () => {
        order.push(at)
        await gate.promise
      }),
    )
    await turn()
    expect(order).toEqual([0, 1])
    expect([limiter.active, limiter.waiting]).toEqual([2, 3])
    gates[1]!.resolve()
    await runs[1]
    await turn()
    expect(order).toEqual([0, 1, 2])
    for (const gate of gates) gate.resolve()
    await Promise.all(runs)
    expect(order).toEqual([0, 1, 2, 3, 4])
    expect([limiter.active, limiter.waiting]).toEqual([0, 0])
  })

  it('does not let a newcomer overtake who waits', async () => {
    const limiter = new Limiter(1)
    const order: string[] = []
    const first = await limiter.acquire(never)
    const waiting = limiter.run(never, () => void order.push('waiting'))
    first[Symbol.dispose]()
    const newcomer = limiter.run(never, () => void order.push('newcomer'))
    await Promise.all([waiting, newcomer])
    expect(order).toEqual(['waiting', 'newcomer'])
  })

  it('leaves the queue when aborted, wherever it stands', async () => {
    const limiter = new Limiter(1)
    const held = await limiter.acquire(never)
    const controllers = [new AbortController(), new AbortController(), new AbortController()]
    const waits = controllers.map((controller) => limiter.acquire(controller.signal))
    controllers[1]!.abort(new Error('gave up'))
    await expect(waits[1]).rejects.toThrow('gave up')
    expect(limiter.waiting).toBe(2)
    held[Symbol.dispose]()
    const next = await waits[0]!
    controllers[0]!.abort(new Error('too late, it is in'))
    expect(limiter.active).toBe(1)
    next[Symbol.dispose]()
    const last = await waits[2]!
    last[Symbol.dispose]()
    expect([limiter.active, limiter.waiting]).toEqual([0, 0])
  })

  it('refuses a signal that is aborted already without taking a place', async () => {
    const limiter = new Limiter(1)
    await expect(limiter.acquire(AbortSignal.abort(new Error('no')))).rejects.toThrow('no')
    expect(limiter.active).toBe(0)
  })

  it('counts a second release of the same admission as nothing', async () => {
    const limiter = new Limiter(1)
    const held = await limiter.acquire(never)
    held[Symbol.dispose]()
    held[Symbol.dispose]()
    expect(limiter.active).toBe(0)
  })

  it('gives the place back when the work throws', async () => {
    const limiter = new Limiter(1)
    await expect(limiter.run(never, () => Promise.reject(new Error('work')))).rejects.toThrow('work')
    expect(limiter.active).toBe(0)
  })

  it('never exceeds its limit and loses no place, whatever is aborted when', async () => {
    const job = fc.record({ turns: fc.nat(3), abortAfter: fc.option(fc.nat(4), { nil: undefined }) })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(job, { maxLength: 20 }), async (limit, jobs) => {
        const limiter = new Limiter(limit)
        let inside = 0
        let most = 0
        await Promise.allSettled(
          jobs.map(async ({ turns, abortAfter }) => {
            const controller = new AbortController()
            const work = limiter.run(controller.signal, async () => {
              most = Math.max(most, ++inside)
              for (let at = 0; at < turns; at++) await turn()
              inside--
            })
            const abort = async (after: number): Promise<void> => {
              for (let at = 0; at < after; at++) await turn()
              controller.abort(new Error('gave up'))
            }
            await Promise.all([work, abortAfter === undefined ? undefined : abort(abortAfter)])
          }),
        )
        expect(most).toBeLessThanOrEqual(limit)
        expect([limiter.active, limiter.waiting, inside]).toEqual([0, 0, 0])
      }),
    )
  })
})
