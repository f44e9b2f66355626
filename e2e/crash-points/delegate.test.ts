import { afterAll, beforeAll, describe } from 'vitest'
import { needsRoot } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'
import { ALL_STEPS } from './steps.ts'

// Of a network that has the ports for itself none is moved.
const STEPS = ALL_STEPS.filter((step) => /^(host\.(add|undo)|agent|delegate)\./.test(step))

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
