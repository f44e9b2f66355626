import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EVERYTHING, needsRoot } from '../fixture.ts'
import { CrashLab, ON_HOST, type PodCall } from './crash-lab.ts'
import { crashTests } from './crash-tests.ts'
import { ALL_STEPS, FALLBACK_STEPS, IPAM_STEPS } from './steps.ts'

// The network of the host has tests of its own. Between two steps there is one write or one call: every third one is taken, all with E2E_EVERYTHING.
const STEPS = ALL_STEPS.filter((step) => !step.startsWith('delegate.') && (EVERYTHING || !FALLBACK_STEPS.includes(step))).filter(
  (_, at) => EVERYTHING || at % 3 === 0,
)

/** Of the network of another adapter: then a port is taken for a pod, and returned after it. */
const SPLICED: PodCall = { conf: { name: 'splicenet' } }

describe.skipIf(needsRoot)('a daemon dies at each step of ADD and DEL, adapter hello (needs root for namespaces)', () => {
  let lab: CrashLab

  beforeAll(async () => {
    lab = await CrashLab.up({ adapter: 'hello', networks: [{ name: 'splicenet', adapter: 'delegate' }] })
    await lab.baseline([{}, SPLICED, ON_HOST])
  }, 120_000)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  const start = (role: 'host' | 'agent'): Promise<void> => lab.e2e.lab.start(lab.node, role)

  test('host.queue.finished', async () => {
    const pod = await lab.pod()
    await lab.succeed('ADD', pod)
    await lab.e2e.lab.kill(lab.node, 'agent')
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.crash('host.queue.finished', () => start('agent'))
    await lab.settled()
  })

  test('host.queue.shortened, in an ADD over what is queued', async () => {
    const pod = await lab.pod()
    await lab.succeed('ADD', pod)
    await lab.e2e.lab.kill(lab.node, 'agent')
    await lab.succeed('DEL', pod)
    await lab.crash('host.queue.shortened', () => lab.call('ADD', pod))
    await start('agent')
    await lab.succeed('ADD', pod)
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  })

  test.each([
    ['host.add.noted', 'host.recover.undone'],
    ['agent.attach.connected', 'agent.recover.undone'],
  ])('%s, and while that is undone %s', async (first, second) => {
    const pod = await lab.pod()
    lab.arm(first)
    const failed = lab.call('ADD', pod)
    await lab.died(first, failed)
    lab.arm(second)
    await expect(start(second.startsWith('host') ? 'host' : 'agent')).rejects.toMatchObject({ code: 'NOT_READY' })
    await lab.died(second)
    await start(second.startsWith('host') ? 'host' : 'agent')
    expect(await failed).toMatchObject({ exitCode: 1, json: { code: 11 } })
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  })

  test.each(['agent.renew.connected', 'agent.renew.finished'])('%s, after the port of a running pod was unplugged', async (step) => {
    const pod = await lab.pod()
    await lab.succeed('ADD', pod)
    await lab.e2e.lab.kill(lab.node, 'agent')
    await lab.unplug(pod)
    lab.arm(step)
    await start('agent')
    await lab.died(step)
    await start('agent')
    await lab.reachesRunning(pod)
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  })

  // This adapter takes no addresses of the host: the ADD fails after all of its own steps, and gives them back by the others.
  test.each(IPAM_STEPS.filter((_, at) => EVERYTHING || at % 2 === 0))('%s, of addresses from the host', async (step) => {
    const pod = await lab.pod()
    await lab.crash(step, () => lab.call('ADD', pod, lab.ipamOnHost))
    await lab.succeed('DEL', pod)
    await lab.e2e.lab.deletePod(pod)
    await lab.settled()
  })

  crashTests({
    lab: () => lab,
    steps: STEPS,
    callFor: (step) => (step.startsWith('splice.') ? SPLICED : FALLBACK_STEPS.includes(step) ? ON_HOST : {}),
    again: 'odd',
  })
})
