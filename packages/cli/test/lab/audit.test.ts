import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { auditDifferences, describeDifference, type Holding } from '@cni-offload/cli'

const lease = (what: string): Holding => ({ node: 'node1', kind: 'lease', what })

describe('differences between two audits', () => {
  test('none between equal ones, whatever their order', () => {
    const holding = fc.record({
      node: fc.constantFrom('node1', 'node2'),
      kind: fc.constantFrom('link' as const, 'lease' as const),
      what: fc.constantFrom('a', 'b', 'c'),
    })
    fc.assert(
      fc.property(fc.array(holding), (all) => {
        expect(auditDifferences(all, all.toReversed())).toEqual([])
      }),
    )
  })

  test('what has come has leaked, what has gone is lost, what has changed is both', () => {
    const before = [lease('a'), lease('b'), lease('c, down')]
    const after = [lease('c, up'), lease('a'), lease('d')]
    expect(auditDifferences(before, after).map(describeDifference)).toEqual([
      'leaked on node1: lease c, up',
      'leaked on node1: lease d',
      'lost on node1: lease b',
      'lost on node1: lease c, down',
    ])
  })

  test('the same thing twice is one more than once', () => {
    expect(auditDifferences([lease('a')], [lease('a'), lease('a')])).toEqual([{ change: 'leaked', ...lease('a') }])
  })

  test('equal texts of two nodes or kinds are two things', () => {
    expect(auditDifferences([lease('a')], [{ ...lease('a'), node: 'node2' }])).toHaveLength(2)
    expect(auditDifferences([lease('a')], [{ ...lease('a'), kind: 'file' }])).toHaveLength(2)
  })
})
