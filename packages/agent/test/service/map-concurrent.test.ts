import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { collect } from '../support/bench.ts'
import { mapConcurrent } from '../../src/service/map-concurrent.ts'

const from = async function* <T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

describe('mapConcurrent', () => {
  test('does everything once and never more than the limit at a time, in whatever order work ends', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.integer({ min: 1, max: 5 }),
        async (scheduler, items, limit) => {
          let active = 0
          let most = 0
          const work = async (item: number): Promise<number> => {
            most = Math.max(most, ++active)
            await scheduler.schedule(Promise.resolve())
            active--
            return item * 2
          }
          const results = await scheduler.waitFor(collect(mapConcurrent(from(items), limit, work)))
          expect(results.toSorted((a, b) => a - b)).toEqual(items.map((item) => item * 2).toSorted((a, b) => a - b))
          expect(most).toBeLessThanOrEqual(limit)
          expect(active).toBe(0)
        },
      ),
    )
  })

  test('yields what was done before it throws what the source threw', async () => {
    const source = async function* (): AsyncGenerator<number> {
      yield 1
      yield 2
      throw new Error('source')
    }
    const seen: number[] = []
    await expect(
      (async () => {
        for await (const n of mapConcurrent(source(), 4, (item) => Promise.resolve(item))) seen.push(n)
      })(),
    ).rejects.toThrow('source')
    expect(seen).toEqual([1, 2])
  })

  test('ending the loop early ends the source and waits for running work', async () => {
    let ended = false
    let active = 0
    const source = async function* (): AsyncGenerator<number> {
      try {
        for (let n = 0; ; n++) yield n
      } finally {
        ended = true
      }
    }
    const work = async (item: number): Promise<number> => {
      active++
      await new Promise((resolve) => setImmediate(resolve))
      active--
      return item
    }
    for await (const _ of mapConcurrent(source(), 3, work)) break
    expect({ ended, active }).toEqual({ ended: true, active: 0 })
  })
})
