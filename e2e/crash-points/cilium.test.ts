import { CILIUM_STEPS } from '@cni-offload/adapter-cilium'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { EVERYTHING, needsRoot } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'
import { ALL_STEPS } from './steps.ts'

/** What mode `splice` adds to the steps of adapter-delegate, on the way of each DEL; the others are those of mode `agent-api`. */
const OWN = CILIUM_STEPS.filter((step) => step === 'cilium.detach.deleted' || step === 'cilium.detach.forgotten')

const STEPS = [...ALL_STEPS.filter((step) => step.startsWith('delegate.')), ...OWN]

// The engine's steps are taken with the adapter delegate in any case, and what is Cilium's own at them is told from its tests.
describe.skipIf(needsRoot || !EVERYTHING)('a daemon dies at each step, adapter cilium in mode splice (needs root, E2E_EVERYTHING)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'cilium-splice' })
    await lab.baseline([{}])
  }, 120_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  test('cilium.detach.put-off, deletion.made-up-for and deletion.forgotten, one after the other, while cilium-agent is away', async () => {
    const pod = await lab.pod()
    await lab.succeed('ADD', pod)
    await lab.e2e.lab.kill(lab.node, 'cilium')
    await lab.crash('cilium.detach.put-off', () => lab.call('DEL', pod))
    await lab.succeed('DEL', pod)
    lab.arm('cilium.deletion.made-up-for')
    await lab.e2e.lab.start(lab.node, 'cilium')
    await lab.died('cilium.deletion.made-up-for')
    lab.arm('cilium.deletion.forgotten')
    // It comes to that before it says that it is there, or right after.
    const started = lab.e2e.lab.start(lab.node, 'agent').catch(() => {})
    await lab.died('cilium.deletion.forgotten')
    await started
    await lab.e2e.lab.start(lab.node, 'agent')
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  }, 300_000)

  test('and cilium-agent dies, too, and forgets whatever was not yet an endpoint', async () => {
    const pod = await lab.pod()
    await lab.crash('delegate.attach.noted', async () => await lab.call('ADD', pod))
    await lab.e2e.lab.kill(lab.node, 'cilium')
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.start(lab.node, 'cilium')
    await lab.succeed('ADD', pod)
    await lab.reachesRunning(pod)
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  }, 300_000)

  crashTests({ lab: () => lab, steps: STEPS, again: 'odd' })
})
