import { OffloadError } from '@cni-offload/sdk'
import type { FakePod } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually, HostLab } from '../support/lab.ts'

describe.skipIf(process.getuid?.() !== 0)('CHECK (needs root: makes network namespaces and links)', () => {
  let lab: HostLab
  let pod: FakePod
  let prevResult: { interfaces: { mac: string }[]; ips: { address: string; interface: number }[] }
  beforeAll(async () => {
    lab = await HostLab.start()
    pod = await lab.pod()
    prevResult = JSON.parse((await lab.call('ADD', pod)).output)
  })
  afterEach(() => {
    lab.agent.before = () => {}
  })
  afterAll(async () => {
    await pod[Symbol.asyncDispose]()
    await lab[Symbol.asyncDispose]()
  })
  const check = async (netconf: object = { prevResult }, env: Record<string, string> = {}): Promise<{ code?: number; msg?: string }> => {
    const { exitCode, output } = await lab.call('CHECK', pod, { netconf, env })
    expect(output === '', output).toBe(exitCode === 0)
    return output === '' ? {} : JSON.parse(output)
  }
  const withIp = (address: string, at = 0): object => ({
    prevResult: { ...prevResult, ips: [...prevResult.ips, { address, interface: at }] },
  })

  it('passes right after ADD, and asks the agent as well', async () => {
    expect(await check()).toEqual({})
    expect(lab.agent.calls.at(-1)).toBe('check')
  })

  it('needs prevResult', async () => {
    expect(await check({})).toMatchObject({ code: 7, msg: expect.stringContaining('prevResult') })
  })

  it('tells what prevResult says and is not so', async () => {
    expect(await check(withIp('10.1.2.3/24'))).toMatchObject({ code: 101, msg: expect.stringContaining('10.1.2.3/24') })
    const mac = [{ ...prevResult.interfaces[0], mac: '02:00:00:00:00:77' }]
    expect(await check({ prevResult: { ...prevResult, interfaces: mac } })).toMatchObject({
      code: 101,
      msg: expect.stringContaining('02:00:00:00:00:77'),
    })
    const elsewhere = [{ ...prevResult.interfaces[0], sandbox: '/run/netns/x' }]
    expect(await check({ prevResult: { ...prevResult, interfaces: elsewhere } })).toMatchObject({
      code: 101,
      msg: expect.stringContaining('no interface eth0'),
    })
  })

  it('accepts what later plugins have added', async () => {
    await lab.net.apply(pod.path, [{ op: 'addr.add', dev: 'eth0', address: '10.77.9.9/32' }])
    expect(await check(withIp('10.77.9.9/32'))).toEqual({})
    const more = {
      ...prevResult,
      interfaces: [...prevResult.interfaces, { name: 'host1' }],
      ips: [...prevResult.ips, { address: '192.0.2.1/24', interface: 1 }],
    }
    expect(await check({ prevResult: more })).toEqual({})
  })

  it('takes MAC and MTU from prevResult, where a later plugin has noted what it made of them', async () => {
    const link = (await lab.net.link(pod.path, 'eth0'))!
    await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', mac: '02:00:00:00:00:ab', mtu: 1350 }])
    expect(await check()).toMatchObject({ code: 101, msg: expect.stringContaining('MTU is 1350 instead of 1400') })
    const [own] = prevResult.interfaces
    const tuned = { ...prevResult, interfaces: [{ ...own, mac: '02:00:00:00:00:AB', mtu: 1350 }] }
    expect(await check({ prevResult: tuned })).toEqual({})
    await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', mac: link.mac, mtu: link.mtu }])
    expect(await check({ prevResult: tuned })).toMatchObject({ code: 101, msg: expect.stringContaining('02:00:00:00:00:ab') })
    const silent = { ...prevResult, interfaces: [{ name: 'eth0', sandbox: pod.path }] }
    expect(await check({ prevResult: silent }), 'our own result holds then').toEqual({})
  })

  it('gives the agent more time than for a STATUS', async () => {
    let timeoutMs: number | undefined
    lab.agent.before = (method, ctx) => {
      if (method === 'check') timeoutMs = ctx.timeoutMs
    }
    expect(await check()).toEqual({})
    expect(timeoutMs).toBe(15_000)
  })

  it('does not know an attachment that was never made, nor one in another namespace', async () => {
    expect(await check({ prevResult }, { CNI_IFNAME: 'eth9' })).toMatchObject({ code: 101, msg: expect.stringContaining('not known') })
    expect(await check({ prevResult }, { CNI_NETNS: lab.dpuNetns.path })).toMatchObject({
      code: 101,
      msg: expect.stringContaining('CNI_NETNS'),
    })
  })

  it('passes on what the agent finds', async () => {
    lab.agent.before = () => {
      throw new OffloadError('CHECK_FAILED', 'redirect is gone')
    }
    expect(await check()).toMatchObject({ code: 101, msg: 'redirect is gone' })
    lab.agent.before = () => {}
    lab.agent.become('unreachable')
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
    expect(await check()).toMatchObject({ code: 11 })
    lab.agent.become('ready')
    await eventually(async () => (await lab.inspect()).agent.connected, 'the agent is back')
  })

  it('tells all that is missing in the pod', async () => {
    await lab.net.apply(pod.path, [
      { op: 'addr.flush', dev: 'eth0' },
      { op: 'link.set', dev: 'eth0', up: false, mac: '02:00:00:00:00:99', mtu: 1300 },
    ])
    const { code, msg } = await check()
    expect(code).toBe(101)
    for (const text of [
      'eth0 is down',
      'MAC is 02:00:00:00:00:99',
      'MTU is 1300',
      'address 10.77.0.',
      'address fd77::',
      'route 0.0.0.0/0 via 10.77.0.1',
      'route ::/0 via fd77::1',
    ])
      expect(msg).toContain(text)
    await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', name: 'eth7' }])
    expect(await check()).toMatchObject({ code: 101, msg: expect.stringContaining('no interface eth0') })
    expect((await lab.call('DEL', pod)).exitCode, 'DEL finds it under its new name').toBe(0)
    expect(await lab.remains()).toEqual([])
  })
})

describe.skipIf(process.getuid?.() !== 0)('STATUS (needs root: makes network namespaces and links)', () => {
  it('is ready, then tells what is not', async () => {
    await using lab = await HostLab.start({ vfs: 1 })
    const status = async (): Promise<unknown> => {
      const { output } = await lab.call(
        'STATUS',
        { path: '', containerId: '', identity: { namespace: '', name: '', uid: '' } },
        { env: { CNI_IFNAME: '' } },
      )
      return output === '' ? '' : JSON.parse(output)
    }
    expect(await status()).toBe('')
    lab.agent.before = (method) => {
      if (method === 'status') throw new OffloadError('LIMITED_CONNECTIVITY', 'half of it')
    }
    expect(await status()).toMatchObject({ code: 51, msg: 'half of it' })
    lab.agent.before = (method) => {
      if (method === 'status') throw new OffloadError('ADAPTER_FAILED', 'broken')
    }
    expect(await status()).toMatchObject({ code: 50, msg: 'broken' })
    lab.agent.before = () => {}
    lab.agent.become('unreachable')
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
    expect(await status()).toMatchObject({ code: 50, msg: expect.stringContaining('DPU agent') })
    lab.agent.become('ready')
    await eventually(async () => (await lab.inspect()).agent.connected, 'the agent is back')
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    expect(await status()).toMatchObject({ code: 50, msg: expect.stringContaining('no VF is free: 1 leased') })
    await lab.call('DEL', pod)
  })
})

describe.skipIf(process.getuid?.() !== 0)('GC (needs root: makes network namespaces and links)', () => {
  it('ends what is not listed, in its network only, and leaves an ADD under way alone', async () => {
    const agent = new FakeAgent()
    await using lab = await HostLab.start({ vfs: 4, agent })
    await using stack = new AsyncDisposableStack()
    const [kept, stale, foreign, coming] = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => stack.use(await lab.pod(name))))
    await lab.call('ADD', kept!)
    await lab.call('ADD', stale!)
    await lab.call('ADD', foreign!, { netconf: { name: 'other' } })
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    agent.afterAttach = () => {
      reached.resolve()
      return go.promise
    }
    const add = lab.call('ADD', coming!)
    await reached.promise
    const nobody = { path: '', containerId: '', identity: { namespace: '', name: '', uid: '' } }
    const gc = (netconf: object): Promise<{ exitCode: number; output: string }> =>
      lab.call('GC', nobody, { env: { CNI_IFNAME: '' }, netconf })
    expect(await gc({}), 'no list, nothing to do').toEqual({ exitCode: 0, output: '' })
    expect((await lab.inspect()).attachments).toHaveLength(4)
    expect(JSON.parse((await gc({ 'cni.dev/valid-attachments': 'all' })).output)).toMatchObject({ code: 7 })
    const list = { 'cni.dev/valid-attachments': [{ containerID: kept!.containerId, ifname: 'eth0' }] }
    expect(await gc(list)).toEqual({ exitCode: 0, output: '' })
    go.resolve()
    expect((await add).exitCode).toBe(0)
    const left = (await lab.inspect()).attachments.map(({ key }) => key.containerId)
    expect(left.toSorted()).toEqual([kept!, foreign!, coming!].map(({ containerId }) => containerId).toSorted())
    expect(await lab.net.link(stale!.path, 'eth0')).toBeUndefined()
    expect(await gc({ 'cni.dev/valid-attachments': [] })).toEqual({ exitCode: 0, output: '' })
    expect((await lab.inspect()).attachments.map(({ key }) => key.network)).toEqual(['other'])
  })
})
