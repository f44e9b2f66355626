import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LabAdapter } from '@cni-offload/cli'
import { describeKill, killPlan, type PlannedKill, type Victim } from '../../src/chaos/plan.ts'

const take = (seed: number, nodes: number, count: number, adapter: LabAdapter = 'hello'): PlannedKill[] =>
  killPlan(seed, nodes, adapter).take(count).toArray()

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

describe('plan of kills', () => {
  test('follows from the seed alone', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 100 }), (seed, nodes, count) => {
        expect(take(seed, nodes, count)).toEqual(take(seed, nodes, 100).slice(0, count))
        expect(take(seed, nodes, 100)).not.toEqual(take(seed + 1, nodes, 100))
      }),
    )
  })

  test('stays within its bounds', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 9 }), (seed, nodes) => {
        const within = (value: number, min: number, max: number): boolean => Number.isInteger(value) && value >= min && value <= max
        const outside = take(seed, nodes, 100).filter(
          ({ node, afterAdds, afterMs, downMs }) =>
            !(within(node, 1, nodes) && within(afterAdds, 0, 4) && within(afterMs, 0, 120) && within(downMs, 0, 1_500)),
        )
        expect(outside).toEqual([])
      }),
    )
  })

  test.each([
    ['hello', { host: 30, agent: 30, both: 10, shim: 30, cilium: 0 }],
    ['cilium', { host: 20, agent: 25, both: 10, shim: 20, cilium: 25 }],
  ] as const)('kills everybody, on every node, in the shares that are documented for %s', (adapter, percents) => {
    const kills = take(1, 2, 10_000, adapter)
    const shares = new Map<Victim, number>()
    for (const { victim } of kills) shares.set(victim, (shares.get(victim) ?? 0) + 1)
    for (const [victim, percent] of Object.entries(percents) as [Victim, number][]) {
      const seen = (shares.get(victim) ?? 0) / 100
      expect(Math.abs(seen - percent), victim).toBeLessThan(percent === 0 ? 0.001 : 2)
    }
    expect(new Set(kills.map(({ node }) => node))).toEqual(new Set([1, 2]))
    expect(new Set(kills.map(({ first }) => first))).toEqual(new Set(['host', 'agent']))
  })

  test('is told in words', () => {
    const kill = { node: 2, afterAdds: 3, afterMs: 40, downMs: 0, first: 'agent' as const }
    expect(describeKill({ ...kill, victim: 'both' })).toBe(
      'host and agent of node2 at once, agent back first after 3 ADDs and 40 ms, down for 0 ms',
    )
    expect(describeKill({ ...kill, victim: 'cilium' })).toBe('cilium-agent of node2 after 3 ADDs and 40 ms, down for 0 ms')
    expect(describeKill({ ...kill, victim: 'shim' })).toBe('a shim of node2 after 3 ADDs and 40 ms')
  })
})
