import type { AttachCall, CallContext } from '@cni-offload/protocol'
import { OffloadError } from '@cni-offload/sdk'
import type { FakePod } from '@cni-offload/testing'
import { describe, expect, it } from 'vitest'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually, HostLab } from '../support/lab.ts'
import { ManualClock } from '../support/manual-clock.ts'

/** Notes whose detaches come, and fails or delays those that it is told to. */
class NotingAgent extends FakeAgent {
  readonly detached: string[] = []
  onDetach: (containerId: string) => Promise<void> | void = () => {}

  override async detach(call: { readonly key: AttachCall['key'] }, ctx: CallContext): Promise<void> {
    this.detached.push(call.key.containerId)
    await this.onDetach(call.key.containerId)
    await super.detach(call, ctx)
  }
}

describe.skipIf(process.getuid?.() !== 0)('the queue of detaches (needs root: makes network namespaces and links)', () => {
  /** Pods that have ended, one after the other, while the agent was away. */
  const ended = async (lab: HostLab, stack: AsyncDisposableStack, names: readonly string[]): Promise<readonly FakePod[]> => {
    const pods = await Promise.all(names.map(async (name) => stack.use(await lab.pod(name))))
    for (const pod of pods) expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    lab.agent.become('unreachable')
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
    for (const pod of pods) expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    return pods
  }
  const metric = async (lab: HostLab, name: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${await lab.host.metricsListening}/metrics`)).text()
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
  }
  const NAMES = ['a', 'b', 'c', 'd']

  it('is delivered in order after a restart, each once; it shows its length and age, and cannot outgrow the VFs', async () => {
    const agent = new NotingAgent()
    const clock = new ManualClock()
    await using lab = await HostLab.start({ agent, vfs: NAMES.length, host: { clock } })
    await using stack = new AsyncDisposableStack()
    const pods = await ended(lab, stack, NAMES)
    for (const pod of pods) expect(await lab.call('DEL', pod), 'again').toEqual({ exitCode: 0, output: '' })
    expect((await lab.inspect()).queue.map(({ key }) => key.containerId)).toEqual(pods.map(({ containerId }) => containerId))
    await using more = await lab.pod('more')
    expect(JSON.parse((await lab.call('ADD', more)).output), 'no VF is left').toMatchObject({ code: 11 })
    await lab.stopHost()
    await lab.startHost()
    expect(await metric(lab, 'cni_offload_host_detach_queue')).toBe(NAMES.length)
    clock.advance(600_000)
    expect(await metric(lab, 'cni_offload_host_detach_queue_oldest_seconds')).toBe(600)
    expect(agent.detached).toEqual([])
    // A resync would end them, too; here they have to come from the queue.
    agent.resync = async function* () {}
    agent.become('ready')
    await eventually(async () => (await lab.inspect()).queue.length === 0, 'all are delivered')
    expect(agent.detached).toEqual(pods.map(({ containerId }) => containerId))
    expect(await lab.remains()).toEqual([])
    expect(await metric(lab, 'cni_offload_host_detach_queue_oldest_seconds')).toBe(0)
  }, 60_000)

  it('goes on where one cannot be delivered, which stays and is told why', async () => {
    const agent = new NotingAgent()
    const clock = new ManualClock()
    await using lab = await HostLab.start({ agent, vfs: NAMES.length, host: { clock } })
    await using stack = new AsyncDisposableStack()
    const pods = await ended(lab, stack, NAMES)
    const poisoned = pods[1]!.containerId
    let heals = false
    agent.onDetach = (containerId) => {
      if (containerId === poisoned && !heals) throw new OffloadError('NOT_READY', 'its network is not served any more')
    }
    agent.become('ready')
    await eventually(async () => (await lab.inspect()).queue.length === 1, 'the others are delivered')
    await eventually(async () => (await lab.inspect()).queue[0]?.reason.includes('its network is not served') === true, 'it is told why')
    await using next = await lab.pod('next')
    expect((await lab.call('ADD', next)).exitCode).toBe(0)
    expect((await lab.call('DEL', next)).exitCode).toBe(0)
    heals = true
    await eventually(async () => {
      clock.advance(60_000)
      return (await lab.inspect()).queue.length === 0
    }, 'it is delivered, too')
    expect(await lab.remains()).toEqual([])
  }, 60_000)

  it('and a DEL or an ADD of the same attachment do not cross: one detach takes effect, and what comes later stays', async () => {
    const agent = new NotingAgent()
    await using lab = await HostLab.start({ agent, vfs: 2 })
    await using stack = new AsyncDisposableStack()
    const [pod] = await ended(lab, stack, ['a'])
    const going = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    agent.onDetach = () => {
      going.resolve()
      return go.promise
    }
    agent.resync = async function* () {}
    agent.become('ready')
    await going.promise
    const again = [lab.call('DEL', pod!), lab.call('ADD', pod!)]
    agent.onDetach = () => {}
    go.resolve()
    expect((await Promise.all(again)).map(({ exitCode }) => exitCode)).toEqual([0, 0])
    await eventually(async () => (await lab.inspect()).queue.length === 0, 'the queue is empty')
    expect(agent.detached.length).toBe(1)
    expect([...agent.attachments.keys()]).toEqual([`podnet/${pod!.containerId}/eth0`])
    expect((await lab.call('DEL', pod!)).exitCode).toBe(0)
    expect(await lab.remains()).toEqual([])
  }, 60_000)
})
