import { afterAll, beforeAll, describe } from 'vitest'
import { EVERYTHING, needsRoot } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'
import { ALL_STEPS } from './steps.ts'

// The daemons' own steps are taken with hello in any case. Of a network that has the ports for itself none is moved.
const STEPS = ALL_STEPS.filter((step) => (EVERYTHING ? /^(host\.(add|undo)|agent|delegate)\./ : /^delegate\./).test(step))

describe.skipIf(needsRoot)('a daemon dies at each step of ADD and DEL, adapter delegate (needs root for namespaces)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'delegate' })
    await lab.baseline([{}])
  }, 120_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  crashTests({ lab: () => lab, steps: STEPS, again: 'even' })
})
