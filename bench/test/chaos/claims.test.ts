import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Claims } from '../../src/chaos/claims.ts'

describe('claims', () => {
  test('what one pod has and another one gets is a double lease, and stays the first one’s', () => {
    const claims = new Claims()
    claims.take('a', ['VF 1', 'address 1'])
    claims.take('b', ['VF 2', 'address 1'])
    expect(claims.doubles).toEqual([{ what: 'address 1', owner: 'a', second: 'b' }])
    claims.release('b')
    claims.take('c', ['VF 1', 'VF 2'])
    expect(claims.doubles.slice(1)).toEqual([{ what: 'VF 1', owner: 'a', second: 'c' }])
  })

  test('what was given up may be given again', () => {
    const claims = new Claims()
    for (const pod of ['a', 'b', 'c']) {
      claims.take(pod, ['VF 1'])
      claims.release(pod)
    }
    expect(claims.doubles).toEqual([])
    expect(claims.size).toBe(0)
  })

  test('are double exactly when two hold the same thing at once', () => {
    const step = fc.record({ pod: fc.constantFrom('a', 'b', 'c'), thing: fc.constantFrom('1', '2', '3'), take: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const claims = new Claims()
        const held = new Map<string, string>()
        let doubles = 0
        for (const { pod, thing, take } of steps) {
          if (take) {
            claims.take(pod, [thing])
            if (held.has(thing)) doubles++
            else held.set(thing, pod)
          } else {
            claims.release(pod)
            for (const [what, owner] of held) if (owner === pod) held.delete(what)
          }
        }
        expect(claims.doubles).toHaveLength(doubles)
        expect(claims.size).toBe(held.size)
      }),
    )
  })
})
