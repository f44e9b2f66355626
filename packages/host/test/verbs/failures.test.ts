import type { LinuxNet, NetOp } from '@cni-offload/linux'
import { type HostDevice, OffloadError } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { FakeAgent, untilAborted } from '../support/fake-agent.ts'
import { eventually, HostLab, type LabOptions } from '../support/lab.ts'

/** A kernel that fails for some ops. Everything else is real. */
const failingNet =
  (fails: (op: NetOp) => boolean, when: 'before' | 'after' = 'before') =>
  (net: LinuxNet): LinuxNet =>
    new Proxy(net, {
      get(target, name: keyof LinuxNet) {
        if (name !== 'apply') return (target[name] as (...args: unknown[]) => unknown).bind(target)
        return async (netns: string, ops: readonly NetOp[]) => {
          const at = ops.findIndex(fails)
          await target.apply(netns, at < 0 ? ops : ops.slice(0, when === 'after' ? at + 1 : at))
          if (at >= 0) throw new OffloadError('KERNEL_REFUSED', `injected at ${ops[at]!.op}`)
        }
      },
    })

const failingDevice =
  (method: 'acquire' | 'release', fails: () => boolean) =>
  (device: HostDevice): HostDevice =>
    new Proxy(device, {
      get(target, name: keyof HostDevice) {
        const own = target[name]
        if (typeof own !== 'function') return own
        return (...args: unknown[]) => {
          if (name === method && fails()) return Promise.reject(new OffloadError('HARDWARE_FAILURE', `injected at ${method}`))
          return (own as (...rest: unknown[]) => unknown).apply(target, args)
        }
      },
    })

const agentFailing = (method: string): FakeAgent => {
  const agent = new FakeAgent()
  agent.before = (called) => {
    if (called === method) throw new OffloadError('RESOURCE_EXHAUSTED', `injected at ${method}`)
  }
  return agent
}

const agentFailingAfterAttach = (): FakeAgent => {
  const agent = new FakeAgent()
  agent.afterAttach = () => {
    throw new OffloadError('ADAPTER_FAILED', 'injected after attach')
  }
  return agent
}

describe.skipIf(process.getuid?.() !== 0)('an ADD that fails leaves nothing (needs root: makes network namespaces and links)', () => {
  const cases: [string, LabOptions, number, string][] = [
    ['the agent refuses', { agent: agentFailing('attach') }, 11, 'injected at attach'],
    ['the agent fails after it attached', { agent: agentFailingAfterAttach() }, 102, 'injected after attach'],
    ['the hardware cannot give the VF', { device: failingDevice('acquire', () => true) }, 106, 'injected at acquire'],
    ['the move fails', { net: failingNet(({ op }) => op === 'link.move') }, 103, 'injected at link.move'],
    ['the move fails after it happened', { net: failingNet(({ op }) => op === 'link.move', 'after') }, 103, 'injected at link.move'],
    ['an address cannot be set', { net: failingNet(({ op }) => op === 'addr.add') }, 103, 'injected at addr.add'],
    ['a route cannot be set', { net: failingNet(({ op }) => op === 'route.add', 'after') }, 103, 'injected at route.add'],
    ['announcing fails', { net: failingNet(({ op }) => op === 'announce') }, 103, 'injected at announce'],
  ]
  it.each(cases)('when %s', async (_what, options, code, text) => {
    await using lab = await HostLab.start(options)
    await using pod = await lab.pod()
    const { exitCode, output } = await lab.call('ADD', pod)
    expect(exitCode).toBe(1)
    expect(JSON.parse(output)).toMatchObject({ code, msg: expect.stringContaining(text) })
    expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
    expect(await lab.remains()).toEqual([])
    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
  })

  it('when the VF does not take a setting, which only reading back can tell', async () => {
    const net = (real: LinuxNet): LinuxNet =>
      new Proxy(real, {
        get(target, name: keyof LinuxNet) {
          if (name !== 'apply') return (target[name] as (...args: unknown[]) => unknown).bind(target)
          return (netns: string, ops: readonly NetOp[]) =>
            target.apply(
              netns,
              ops.filter((op) => !(op.op === 'link.set' && op.mtu !== undefined)),
            )
        },
      })
    await using lab = await HostLab.start({ net })
    await using pod = await lab.pod()
    expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({
      code: 106,
      msg: expect.stringContaining('mtu is 1500, not 1400'),
    })
    expect(await lab.remains()).toEqual([])
  })

  it('when the runtime goes away while the agent works', async () => {
    const agent = new FakeAgent()
    const reached = Promise.withResolvers<void>()
    agent.afterAttach = (_call, { signal }) => {
      reached.resolve()
      return untilAborted(signal)
    }
    await using lab = await HostLab.start({ agent })
    await using pod = await lab.pod()
    const runtime = new AbortController()
    const call = lab.call('ADD', pod, { signal: runtime.signal }).catch(() => 'gone')
    await reached.promise
    runtime.abort()
    expect(await call).toBe('gone')
    await eventually(async () => (await lab.remains()).length === 0, 'the ADD is undone')
  })

  it('when its deadline passes; the answer still arrives', async () => {
    const agent = new FakeAgent()
    agent.before = (method, { signal }) => (method === 'attach' ? untilAborted(signal) : undefined)
    await using lab = await HostLab.start({ agent })
    await using pod = await lab.pod()
    const { output } = await lab.call('ADD', pod, { deadlineMs: 300 })
    expect(JSON.parse(output)).toMatchObject({ code: 11 })
    expect(await lab.remains()).toEqual([])
  })

  it('when the agent cannot be reached: nothing is leased', async () => {
    await using lab = await HostLab.start({ agent: new FakeAgent('unreachable') })
    await using pod = await lab.pod()
    const { output } = await lab.call('ADD', pod)
    expect(JSON.parse(output)).toMatchObject({
      code: 11,
      msg: expect.stringContaining(`DPU agent of node ${lab.node}`),
      details: expect.stringContaining('is the link to it up?'),
    })
    expect(lab.agent.calls).toEqual([])
    expect(await lab.remains()).toEqual([])
  })

  it('when the agent is lost midway: the VF is quarantined until it is back', async () => {
    const agent = new FakeAgent()
    agent.afterAttach = () => {
      agent.become('unreachable')
      throw new OffloadError('AGENT_UNREACHABLE', 'the connection broke')
    }
    await using lab = await HostLab.start({ agent })
    await using pod = await lab.pod()
    expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({ code: 11, msg: 'the connection broke' })
    const { leases, queue } = await lab.inspect()
    expect(leases.map(({ state }) => state).toSorted()).toEqual(['free', 'quarantined'])
    expect(queue).toMatchObject([{ release: false, detach: true, key: { containerId: pod.containerId } }])
    agent.afterAttach = () => {}
    agent.become('ready')
    await eventually(async () => (await lab.remains()).length === 0, 'the VF is free again')
  })

  it('when the VF cannot be brought back: it is quarantined, and tried again', async () => {
    let broken = true
    await using lab = await HostLab.start({ agent: agentFailing('attach'), device: failingDevice('release', () => broken) })
    await using pod = await lab.pod()
    expect(JSON.parse((await lab.call('ADD', pod)).output), 'the first failure is told').toMatchObject({
      msg: expect.stringContaining('injected at attach'),
    })
    expect((await lab.inspect()).queue).toMatchObject([{ release: true, detach: false }])
    broken = false
    await eventually(async () => (await lab.remains()).length === 0, 'the VF is free again')
  })
})

describe.skipIf(process.getuid?.() !== 0)(
  'a DEL is never lost and never in the way (needs root: makes network namespaces and links)',
  () => {
    it('succeeds without the agent; the VF is back home, but not leasable before the agent has confirmed', async () => {
      await using lab = await HostLab.start({ vfs: 1 })
      await using pod = await lab.pod()
      await lab.call('ADD', pod)
      lab.agent.become('unreachable')
      await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
      expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
      expect(await lab.call('DEL', pod), 'again').toEqual({ exitCode: 0, output: '' })
      expect(await lab.net.link(lab.hostNetns.path, 'soft0v0')).toMatchObject({ up: false, mtu: 1500 })
      expect(await lab.inspect()).toMatchObject({
        leases: [{ state: 'quarantined', key: { containerId: pod.containerId } }],
        queue: [{ release: false, detach: true }],
      })
      lab.agent.become('ready')
      await eventually(async () => (await lab.remains()).length === 0, 'the agent has confirmed')
      expect((await lab.call('ADD', pod)).exitCode).toBe(0)
      await lab.call('DEL', pod)
    })

    it('keeps the queue over a restart of the daemon', async () => {
      await using lab = await HostLab.start({ vfs: 1 })
      await using pod = await lab.pod()
      await lab.call('ADD', pod)
      lab.agent.become('unreachable')
      await lab.call('DEL', pod)
      await lab.stopHost()
      await lab.startHost()
      expect(await lab.inspect()).toMatchObject({ leases: [{ state: 'quarantined' }], queue: [{ detach: true }] })
      lab.agent.become('ready')
      await eventually(async () => (await lab.remains()).length === 0, 'the agent has confirmed')
    })

    it('undoes the earlier attachment first when the same key comes again', async () => {
      const agent = new FakeAgent()
      let refuse = true
      agent.before = (method) => {
        if (method === 'detach' && refuse) throw new OffloadError('ADAPTER_FAILED', 'not now')
      }
      await using lab = await HostLab.start({ agent })
      await using pod = await lab.pod()
      await lab.call('ADD', pod)
      expect((await lab.call('DEL', pod)).exitCode).toBe(0)
      expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({ code: 11, msg: expect.stringContaining('not now') })
      refuse = false
      expect((await lab.call('ADD', pod)).exitCode).toBe(0)
      expect(agent.calls.filter((call) => call === 'attach' || call === 'detach').slice(-2)).toEqual(['detach', 'attach'])
      await lab.call('DEL', pod)
      await eventually(async () => (await lab.remains()).length === 0, 'all is undone')
    })

    it('has noted the end before anything is undone, for whoever finds the rest', async () => {
      const reached = Promise.withResolvers<void>()
      const go = Promise.withResolvers<void>()
      const device = (real: HostDevice): HostDevice =>
        new Proxy(real, {
          get(target, name: keyof HostDevice) {
            const own = target[name]
            if (typeof own !== 'function') return own
            if (name !== 'release') return own.bind(target)
            return async (...args: Parameters<HostDevice['release']>) => {
              reached.resolve()
              await go.promise
              await target.release(...args)
            }
          },
        })
      await using lab = await HostLab.start({ device })
      await using pod = await lab.pod()
      await lab.call('ADD', pod)
      const del = lab.call('DEL', pod)
      await reached.promise
      expect((await lab.inspect()).attachments).toMatchObject([{ phase: 'detaching' }])
      go.resolve()
      expect((await del).exitCode).toBe(0)
      expect(await lab.remains()).toEqual([])
    })

    it('waits for an ADD of the same attachment and ends what that made', async () => {
      const agent = new FakeAgent()
      const reached = Promise.withResolvers<void>()
      const go = Promise.withResolvers<void>()
      agent.afterAttach = () => {
        reached.resolve()
        return go.promise
      }
      await using lab = await HostLab.start({ agent })
      await using pod = await lab.pod()
      const add = lab.call('ADD', pod)
      await reached.promise
      const del = lab.call('DEL', pod)
      go.resolve()
      expect((await add).exitCode).toBe(0)
      expect((await del).exitCode).toBe(0)
      expect(await lab.remains()).toEqual([])
    })
  },
)
