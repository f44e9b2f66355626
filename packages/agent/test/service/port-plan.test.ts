import type { CniAdapter, PortRef, VfId } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { Networks } from '../../src/service/networks.ts'
import { type KeptPorts, PortPlan } from '../../src/service/port-plan.ts'
import { FakeAdapter, FakeNetwork } from '../support/fakes.ts'

const vf = (index: number): VfId => ({ device: 'card', index })
const PORTS: PortRef[] = Array.from({ length: 6 }, (_, index) => ({ vf: vf(index), name: `port${index}` }))
const range = (first: number, last: number) => ({ device: 'card', first, last })

const adapter = (): CniAdapter => new FakeAdapter(new FakeNetwork())
const [one, two] = [adapter(), adapter()]
const plan = (networks: Record<string, CniAdapter>, kept: KeptPorts = {}): PortPlan =>
  new PortPlan(new Networks(new Map(Object.entries(networks))), kept, PORTS)
const own = (of: PortPlan, who: CniAdapter): number[] =>
  PORTS.filter((port) => of.seenBy(who, port).shared !== true).map((port) => port.vf.index)
const allowed = (of: PortPlan, network: string): number[] =>
  PORTS.filter((port) => {
    try {
      of.assertAllowed(network, port.vf)
      return true
    } catch (error) {
      expect(error).toMatchObject({ code: 'INVALID_NETCONF' })
      return false
    }
  }).map((port) => port.vf.index)

describe('whose port is whose', () => {
  test('all ports are the only adapter’s own, however many networks it serves', () => {
    const only = plan({ a: one, b: one })
    expect(own(only, one)).toEqual([0, 1, 2, 3, 4, 5])
    expect(allowed(only, 'a')).toEqual([0, 1, 2, 3, 4, 5])
    expect(only.kept).toEqual([])
  })

  test('adapters share all ports where nothing else is configured', () => {
    const both = plan({ a: one, b: two })
    expect([own(both, one), own(both, two)]).toEqual([[], []])
    expect([allowed(both, 'a'), allowed(both, 'b')]).toEqual([
      [0, 1, 2, 3, 4, 5],
      [0, 1, 2, 3, 4, 5],
    ])
  })

  test('a network keeps its ports; the rest is the other adapter’s own where nobody else can use it', () => {
    const kept = plan({ a: one, b: two }, { b: [range(4, 9)] })
    expect([own(kept, one), own(kept, two)]).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ])
    expect([allowed(kept, 'a'), allowed(kept, 'b')]).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ])
    expect(kept.kept).toEqual([{ network: 'b', vfs: [vf(4), vf(5)] }])
  })

  test('three adapters: what one keeps is its own, what is left is shared by the others; "*" may keep ports, too', () => {
    const three = adapter()
    const mixed = plan({ a: one, b: two, '*': three }, { '*': [range(0, 0), range(3, 3)] })
    expect([own(mixed, one), own(mixed, two), own(mixed, three)]).toEqual([[], [], [0, 3]])
    expect([allowed(mixed, 'a'), allowed(mixed, 'any other')]).toEqual([
      [1, 2, 4, 5],
      [0, 3],
    ])
  })

  test.each([
    [{ c: [range(0, 1)] }, 'no adapter serves a network of that name'],
    [{ b: [range(6, 8)] }, 'the hardware has none of card/6-8'],
    [{ a: [range(0, 2)], b: [range(2, 3)] }, 'both keep VF card/2'],
  ])('%j is refused', (kept: KeptPorts, text) => {
    expect(() => plan({ a: one, b: two }, kept)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(text) }),
    )
  })
})
