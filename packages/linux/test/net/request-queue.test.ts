import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type RequestClass, RequestQueue } from '../../src/net/request-queue.ts'

const kinds = fc.array(fc.constantFrom<RequestClass>('short', 'move'), { maxLength: 60 })

const takeAll = (queue: RequestQueue<string>): string[] => {
  const taken: string[] = []
  for (let next = queue.take(); next !== undefined; next = queue.take()) taken.push(next)
  return taken
}

describe('the request queue', () => {
  test('lets short requests overtake moves, each class in its own order', () => {
    const queue = new RequestQueue<string>()
    queue.push('m1', 'move')
    queue.push('s1', 'short')
    queue.push('m2', 'move')
    queue.push('s2', 'short')
    expect(queue.length).toBe(4)
    expect(takeAll(queue)).toEqual(['s1', 's2', 'm1', 'm2'])
  })

  test('never loses, repeats or reorders requests of a class', () => {
    fc.assert(
      fc.property(kinds, fc.integer({ min: 1, max: 5 }), (list, fairness) => {
        const queue = new RequestQueue<string>(fairness)
        for (const [index, kind] of list.entries()) queue.push(`${kind}${index}`, kind)
        const taken = takeAll(queue)
        for (const kind of ['short', 'move']) {
          expect(taken.filter((name) => name.startsWith(kind))).toEqual(
            list.flatMap((each, index) => (each === kind ? [`${kind}${index}`] : [])),
          )
        }
        expect(taken).toHaveLength(list.length)
      }),
    )
  })

  test('gives a waiting move its turn after so many short requests', () => {
    const queue = new RequestQueue<string>(3)
    queue.push('move', 'move')
    for (let index = 0; index < 10; index++) queue.push('short', 'short')
    expect(takeAll(queue).indexOf('move')).toBe(3)
  })

  test('can be emptied at once', () => {
    const queue = new RequestQueue<string>()
    queue.push('m', 'move')
    queue.push('s', 'short')
    expect(queue.drain()).toEqual(['s', 'm'])
    expect(queue.take()).toBeUndefined()
  })
})
