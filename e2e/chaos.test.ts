import { describe, expect, test } from 'vitest'
import { defectsOf, renderReport } from '../bench/src/chaos/report.ts'
import { runChaos } from '../bench/src/chaos/run.ts'
import { EVERYTHING, needsRoot } from './fixture.ts'

const KILLS = 25

describe.skipIf(needsRoot)('daemons and shims that are killed at random under load (needs root for namespaces)', () => {
  test.each(EVERYTHING ? (['hello', 'cilium', 'cilium-splice'] as const) : (['hello'] as const))(
    'leave nothing, lose nothing and give nothing twice, adapter %s',
    async (adapter) => {
      const seed = Date.now() % 2 ** 31
      console.log(`the same plan again: ./run bench chaos --kills ${KILLS} --seed ${seed} --ways 6 --nodes 1 --adapter ${adapter}`)
      const report = await runChaos({ kills: KILLS, seconds: 12, seed, ways: 6, nodes: 1, adapter, progress: () => {} })
      console.log(renderReport(report))
      expect(report.tally.killed).toBeGreaterThan(0)
      const none: string[] = []
      expect(defectsOf(report)).toEqual({
        leaks: none,
        'double leases': none,
        'lost DELs': none,
        'unexpected answers': none,
        'pods without network': none,
      })
    },
    300_000,
  )
})
