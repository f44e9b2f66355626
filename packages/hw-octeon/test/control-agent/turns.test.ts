import { describe, expect, it } from 'vitest'
import { enoughTurns, HANG_MS, TurnMeter } from '../../src/control-agent/turns.ts'

/** What a meter says when it is shown counts, a second apart unless said otherwise. */
const said = (pollMs: number, turns: readonly number[], everyMs = 1_000): (string | undefined)[] => {
  const meter = new TurnMeter(pollMs)
  return turns.map((count, index) => meter.note(BigInt(count), index * everyMs))
}
const HANGS = 'it hangs: its loop has stood still for 5 s'
const FINE = undefined

describe('turns of a loop', () => {
  it.each<[string, readonly number[], readonly (string | undefined)[]]>([
    ['goes on', [0, 1000, 2000, 3000, 4000, 5000, 6000], Array(7).fill(FINE)],
    ['goes on slowly, on a busy machine', [0, 11, 22, 33, 44, 55, 66], Array(7).fill(FINE)],
    ['stands still', [7, 7, 7, 7, 7, 7, 7], [...Array(5).fill(FINE), HANGS, HANGS]],
    ['stands still while its timer goes on', [0, 1, 2, 3, 4, 5, 6], [...Array(5).fill(FINE), HANGS, HANGS]],
    ['stood still, and goes on again', [7, 7, 7, 7, 7, 7, 99, 99], [...Array(5).fill(FINE), HANGS, FINE, FINE]],
    ['goes on, then stands still', [0, 1000, 1000, 1000, 1000, 1000, 1000], [...Array(6).fill(FINE), HANGS]],
  ])('show that it %s', (_, counts, wanted) => expect(said(1, counts)).toEqual(wanted))

  it('show nothing where whoever looks was stopped, too', () => {
    expect(said(1, [0, 0, 0], 60_000)).toEqual([FINE, FINE, FINE])
  })

  it('are expected of a slow loop in a longer time', () => {
    expect(enoughTurns(1, HANG_MS)).toEqual({ turns: 50n, withinMs: 5_000 })
    expect(enoughTurns(100, HANG_MS)).toEqual({ turns: 1n, withinMs: 5_000 })
    expect(enoughTurns(10_000, HANG_MS)).toEqual({ turns: 1n, withinMs: 30_000 })
    expect(said(4_000, [0, 0, 0, 0, 0, 0, 0, 1, 1]).filter((reason) => reason !== FINE)).toEqual([])
  })
})
