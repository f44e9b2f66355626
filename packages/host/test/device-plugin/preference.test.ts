import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, preferred } from '../../src/device-plugin/preference.ts'

const known = (...list: readonly Candidate[]): Map<string, Candidate> => new Map(list.map((device) => [device.id, device]))
const device = (id: string, turn: number, numaNode?: number, free = true): Candidate => ({ id, turn, free, numaNode })

describe('preferred', () => {
  it('takes the device that has rested longest', () => {
    const devices = known(device('a', 9), device('b', 2), device('c', 5))
    expect(preferred(devices, { available: ['a', 'b', 'c'], mustInclude: [], size: 2 })).toEqual(['b', 'c'])
  })

  it('prefers a device that nobody has to one that rested longer but is taken', () => {
    const devices = known(device('a', 1, 0, false), device('b', 2, 0))
    expect(preferred(devices, { available: ['a', 'b'], mustInclude: [], size: 1 })).toEqual(['b'])
  })

  it('stays on one NUMA node if it can, although others have rested longer', () => {
    const devices = known(device('a', 1, 0), device('b', 3, 1), device('c', 4, 1))
    expect(preferred(devices, { available: ['a', 'b', 'c'], mustInclude: [], size: 2 }).toSorted()).toEqual(['b', 'c'])
  })

  it('stays on the node of what must be included', () => {
    const devices = known(device('a', 9, 1), device('b', 1, 0), device('c', 8, 1), device('d', 2, 0))
    expect(preferred(devices, { available: ['a', 'b', 'c', 'd'], mustInclude: ['a'], size: 2 })).toEqual(['a', 'c'])
  })

  it('takes the fullest node first where no node has enough', () => {
    const devices = known(device('a', 1, 0), device('b', 2, 1), device('c', 3, 1), device('d', 4, 2))
    expect(preferred(devices, { available: ['a', 'b', 'c', 'd'], mustInclude: [], size: 3 }).toSorted()).toEqual(['a', 'b', 'c'])
  })

  it('takes devices of an unknown node for those of one', () => {
    const devices = known(device('a', 1, 0), device('b', 2), device('c', 3))
    expect(preferred(devices, { available: ['a', 'b', 'c'], mustInclude: [], size: 2 })).toEqual(['b', 'c'])
  })

  it.each([
    [{ available: ['a'], mustInclude: ['b'], size: 1 }, 'must_include_deviceIDs = "b"'],
    [{ available: ['a', 'b'], mustInclude: ['a', 'b'], size: 1 }, 'allocation_size = 1'],
    [{ available: ['a'], mustInclude: [], size: 2 }, 'allocation_size = 2'],
    [{ available: ['a'], mustInclude: [], size: -1 }, 'allocation_size = -1'],
  ])('refuses %j', (wanted, message) => {
    expect(() => preferred(known(device('a', 1), device('b', 2)), wanted)).toThrow(message)
  })

  it('answers every question that has an answer, on one node if there is one, whether it knows the devices or not', () => {
    const devices = fc.uniqueArray(
      fc.record({
        id: fc.string({ minLength: 1, maxLength: 3 }),
        numaNode: fc.option(fc.nat(2), { nil: undefined }),
        free: fc.boolean(),
        turn: fc.nat(20),
      }),
      { selector: ({ id }) => id, minLength: 1, maxLength: 12 },
    )
    fc.assert(
      fc.property(devices, fc.nat(12), fc.nat(12), fc.nat(2), (list, musts, sizes, strangers) => {
        const available = [...list.map(({ id }) => id), ...Array.from({ length: strangers }, (_, index) => `stranger${index}`)]
        const must = available.slice(0, musts % (available.length + 1))
        const size = must.length + (sizes % (available.length - must.length + 1))
        const table = known(...list)
        const answer = preferred(table, { available, mustInclude: must, size })
        expect(answer).toHaveLength(size)
        expect(new Set(answer).size).toBe(size)
        expect(available).toEqual(expect.arrayContaining(answer))
        expect(answer).toEqual(expect.arrayContaining(must))
        const nodeOf = (id: string): number | undefined => table.get(id)?.numaNode
        const nodes = new Set(available.map(nodeOf))
        const possible = [...nodes].some(
          (node) => must.every((id) => nodeOf(id) === node) && available.filter((id) => nodeOf(id) === node).length >= size,
        )
        if (size > 0 && possible) expect(new Set(answer.map(nodeOf)).size).toBe(1)
        // The order of the question does not matter.
        expect(preferred(table, { available: available.toReversed(), mustInclude: must, size }).toSorted()).toEqual(answer.toSorted())
      }),
    )
  })
})
