import { afterAll, beforeAll, describe, test } from 'vitest'
import { EVERYTHING, needsRoot } from '../fixture.ts'
import { CrashLab } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'
import { ALL_STEPS } from './steps.ts'

/** Has tests of its own: a deletion is put off only while cilium-agent is away. */
const PUT_OFF = 'cilium.detach.put-off'

// An endpoint that cilium-agent may still be making is looked for once more after 20 seconds: steps that lead there take long.
const SAMPLE = [
  'cilium.attach.addressed',
  'cilium.attach.endpoint-made',
  'cilium.attach.finished',
  'cilium.detach.deleted',
  'cilium.detach.forgotten',
]

// The daemons' own steps are taken with hello in any case. Of a network that has the ports for itself none is moved.
const STEPS = EVERYTHING
  ? ALL_STEPS.filter((step) => /^(host\.(add|undo)|agent|cilium)\./.test(step) && step !== PUT_OFF)
  : ALL_STEPS.filter((step) => SAMPLE.includes(step))

describe.skipIf(needsRoot)('a daemon dies at each step of ADD and DEL, adapter cilium (needs root for namespaces)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'cilium' })
    await lab.baseline([{}])
  }, 120_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  const start = (role: 'agent' | 'cilium'): Promise<void> => lab.e2e.lab.start(lab.node, role)

  test.each(['cilium.deletion.made-up-for', ...(EVERYTHING ? ['cilium.deletion.forgotten'] : [])])(
    `${PUT_OFF}, because cilium-agent is away, and when it is back %s`,
    async (step) => {
      const pod = await lab.pod()
      await lab.succeed('ADD', pod)
      await lab.e2e.lab.kill(lab.node, 'cilium')
      await lab.crash(PUT_OFF, () => lab.call('DEL', pod))
      await lab.succeed('DEL', pod)
      await lab.e2e.lab.deletePod(pod)
      lab.arm(step)
      await start('cilium')
      await lab.died(step)
      await start('agent')
      await lab.settled()
    },
  )

  crashTests({ lab: () => lab, steps: STEPS, again: 'even' })
})
