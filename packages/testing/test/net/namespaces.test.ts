import { createLinuxNet } from '@cni-offload/linux'
import { afterAll, describe, expect, it } from 'vitest'
import { exec, fakePod, isRoot, leaks, leakSnapshot, PortBench, requireRoot, ROOT_REASON, TestNetns, uniqueName } from '../../src/index.ts'

describe('uniqueName', () => {
  it('never repeats and is an interface name', () => {
    const names = Array.from({ length: 500 }, () => uniqueName('veth'))
    expect(new Set(names).size).toBe(500)
    for (const name of names) expect(name).toMatch(/^veth[a-z0-9]{1,11}$/)
  })
})

describe('requireRoot', () => {
  it('lets root pass and tells others what to do', () => {
    if (isRoot()) expect(requireRoot()).toBeUndefined()
    else expect(() => requireRoot()).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED', hint: expect.stringContaining('sudo') }))
  })
})

describe('exec', () => {
  it('gives exit code and output, an exit code of 1 included', async () => {
    expect(await exec(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' })
  })

  it('passes input and environment, and survives a command that reads neither', async () => {
    expect(await exec(['sh', '-c', 'cat; echo "$A"'], { input: 'in ', env: { A: 'x', PATH: process.env['PATH'] ?? '' } })).toMatchObject({
      stdout: 'in x\n',
    })
    expect(await exec(['true'], { input: 'x'.repeat(1 << 20) })).toMatchObject({ code: 0 })
  })

  it('says which command could not be run', async () => {
    await expect(exec(['/nonexistent/tool'])).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining('/nonexistent/tool'),
    })
  })

  it('ends a command that takes too long, or whose caller gives up', async () => {
    await expect(exec(['sleep', '60'], { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('sleep 60'),
    })
    await expect(exec(['sleep', '60'], { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const caller = new AbortController()
    const sleeping = exec(['sleep', '60'], { signal: caller.signal })
    caller.abort()
    await expect(sleeping).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})

describe.skipIf(!isRoot())(`namespaces for tests (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  it('run commands inside, and take their processes along when they go', async () => {
    const netns = await TestNetns.create(net, 'tns')
    expect((await netns.exec(['ip', '-br', 'link'])).stdout).toMatch(/^lo /)
    expect(await netns.output(['cat'], { input: 'hello' })).toBe('hello')
    await expect(netns.output(['sh', '-c', 'echo why >&2; exit 1'])).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining('why'),
    })
    const sleeping = netns.exec(['sleep', '60']).catch((error: unknown) => error)
    await netns[Symbol.asyncDispose]()
    expect(await sleeping).toMatchObject({ code: 'CANCELLED' })
    expect(await net.netnsIdentity(netns.path)).toBeUndefined()
  })

  it('make pods with an identity of their own', async () => {
    await using first = await fakePod({ net, name: 'web' })
    await using second = await fakePod({ net, name: 'web', namespace: 'shop' })
    expect(first.containerId).toMatch(/^[0-9a-f]{64}$/)
    expect(first.containerId).not.toBe(second.containerId)
    expect(second.identity).toMatchObject({ namespace: 'shop', name: 'web' })
    expect(first.key('podnet')).toEqual({ network: 'podnet', containerId: first.containerId, ifName: 'eth0' })
    expect(await net.netnsIdentity(first.path)).toBeDefined()
  })

  it('show what was left behind, and only that', async () => {
    await using netns = await TestNetns.create(net, 'tns')
    const mine = (name: string): boolean => name.startsWith(`lk${netns.name}`)
    const before = await leakSnapshot(net, [netns.path, '/run/netns/never-existed'])
    expect(leaks(before, await leakSnapshot(net, [netns.path]), mine)).toEqual([])
    await net.apply(netns.path, [{ op: 'link.add-bridge', dev: 'left' }])
    const leaked = `lk${netns.name}`
    await net.createNetns(leaked)
    expect(leaks(before, await leakSnapshot(net, [netns.path]), mine)).toEqual([`namespace ${leaked}`, `link left in ${netns.path}`])
    await net.deleteNetns(leaked)
    await net.apply(netns.path, [{ op: 'link.del', dev: 'left' }])
    expect(leaks(before, await leakSnapshot(net, [netns.path]), mine)).toEqual([])
  })

  it('have ports of pods in a namespace of the caller, and leave nothing there', async () => {
    await using dpu = await TestNetns.create(net, 'tns')
    const before = await leakSnapshot(net, [dpu.path])
    const bench = await PortBench.create({ net, ports: 3, dpuNetns: dpu.path, mtu: 1400 })
    expect((await net.links(dpu.path)).map(({ name }) => name)).toEqual(expect.arrayContaining(bench.ports.map(({ port }) => port.name)))
    for (const { pod, vfMac } of bench.ports) expect(await net.link(pod.path, 'eth0')).toMatchObject({ mac: vfMac, mtu: 1400, up: false })
    await bench[Symbol.asyncDispose]()
    expect(leaks(before, await leakSnapshot(net, [dpu.path]), () => false)).toEqual([])
    for (const { pod } of bench.ports) expect(await net.netnsIdentity(pod.path)).toBeUndefined()
  })
})
