import { OffloadError } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually, HostLab } from '../support/lab.ts'
import { ManualClock } from '../support/manual-clock.ts'

const MINUTE = 60_000
const PODS = 8

describe.skipIf(process.getuid?.() !== 0)('an agent that is away for long (needs root: makes network namespaces and links)', () => {
  it('for ten minutes: all DELs succeed, no VF is leased again, and all detaches arrive once it is back', async () => {
    const clock = new ManualClock()
    const agent = new FakeAgent()
    await using lab = await HostLab.start({ agent, vfs: PODS, host: { clock } })
    await using stack = new AsyncDisposableStack()
    const pods = await Promise.all(Array.from({ length: PODS }, async (_, i) => stack.use(await lab.pod(`web${i}`))))
    for (const pod of pods) expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    expect(agent.attachments.size).toBe(PODS)

    agent.become('unreachable')
    let refuse = true
    const refused: string[] = []
    agent.before = (method) => {
      if (method !== 'detach' || !refuse) return
      refused.push(method)
      throw new OffloadError('ADAPTER_FAILED', 'the network is not up yet')
    }
    for (const [at, pod] of pods.entries()) {
      clock.advance((10 * MINUTE) / PODS)
      expect(await lab.call('DEL', pod), `DEL ${at}`).toMatchObject({ exitCode: 0, output: '' })
      // What is queued has to outlive the daemon.
      if (at === PODS / 2) {
        await lab.stopHost()
        await lab.startHost()
      }
    }
    const away = await lab.inspect()
    expect(away.queue.map(({ key }) => key.containerId).toSorted()).toEqual(pods.map(({ containerId }) => containerId).toSorted())
    expect(new Set(away.leases.map(({ state }) => state))).toEqual(new Set(['quarantined']))
    expect(agent.attachments.size).toBe(PODS)
    expect(refused).toEqual([])

    // It is back, but its network comes up later than itself.
    agent.become('ready')
    await eventually(() => refused.length >= PODS, 'all detaches were tried')
    refuse = false
    await eventually(async () => {
      clock.advance(MINUTE)
      return (await lab.remains()).length === 0
    }, 'everything is detached')

    await using next = await lab.pod('next')
    expect((await lab.call('ADD', next)).exitCode).toBe(0)
    expect((await lab.call('DEL', next)).exitCode).toBe(0)
    expect(await lab.remains()).toEqual([])
  }, 60_000)
})
