import { SRIOV_STEPS } from '@cni-offload/adapter-sriov'
import { afterAll, beforeAll, describe } from 'vitest'
import { EVERYTHING, needsRoot } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'

// The daemons' own steps are taken with hello in any case, and the adapter's alone in its compliance test.
describe.skipIf(needsRoot || !EVERYTHING)('a daemon dies at each step, adapter sriov (needs root, E2E_EVERYTHING)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'sriov' })
    await lab.baseline([{}])
  }, 120_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  crashTests({ lab: () => lab, steps: SRIOV_STEPS, again: 'even' })
})
