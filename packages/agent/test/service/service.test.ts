import { OffloadError } from '@cni-offload/sdk'
import { createInMemoryClient, type OffloadApi } from '@cni-offload/protocol'
import { describe, expect, test, vi } from 'vitest'
import { negotiate } from '../../src/service/handshake.ts'
import { Barrier, Bench, call, collect, ctx, HOST, key, rejection } from '../support/bench.ts'

const hello = { protocol: { min: 1, max: 1 }, node: 'n1', bootId: 'b', features: [] }

describe('who may call', () => {
  const methods: [string, (api: OffloadApi, context: ReturnType<typeof ctx>) => Promise<unknown>][] = [
    ['handshake', (api, context) => api.handshake(hello, context)],
    ['attach', (api, context) => api.attach(call('a', 0), context)],
    ['detach', (api, context) => api.detach({ key: key('a') }, context)],
    ['check', (api, context) => api.check({ key: key('a') }, context)],
    ['status', (api, context) => api.status({}, context)],
    ['list', (api, context) => api.list(context)],
    ['resync', (api, context) => collect(api.resync((async function* () {})(), context))],
  ]

  test.each(methods)('%s is for the host of the same node only', async (_name, run) => {
    await using bench = await Bench.start()
    const { peer: _peer, ...nobody } = ctx()
    for (const context of [ctx({ peer: { role: 'host', node: 'n2' } }), ctx({ peer: { role: 'agent', node: 'n1' } }), nobody])
      expect(await rejection(run(bench.service, context))).toMatchObject({
        code: 'PERMISSION_DENIED',
        message: expect.stringContaining('"n1"') as string,
      })
    expect(await rejection(run(bench.service, ctx({ peer: { role: 'host', node: 'n2' } })))).toMatchObject({
      message: expect.stringContaining('host "n2"') as string,
    })
    expect(bench.network.calls).toEqual([])
  })
})

describe('handshake', () => {
  test('tells version, networks and which run of the agent this is', async () => {
    await using bench = await Bench.start({ networks: ['podnet', 'storage'] })
    const first = await bench.service.handshake(hello, ctx())
    expect(first).toMatchObject({ protocol: 1, networks: ['podnet', 'storage'] })
    expect((await bench.service.handshake(hello, ctx())).instanceId).toBe(first.instanceId)
    await bench.restart()
    expect((await bench.service.handshake(hello, ctx())).instanceId).not.toBe(first.instanceId)
  })

  test('with the wrong node is refused', async () => {
    await using bench = await Bench.start()
    expect(await rejection(bench.service.handshake({ ...hello, node: 'n9' }, ctx()))).toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringMatching(/"n9".*"n1"/) as string,
    })
  })

  test('takes the highest version that both speak, or refuses naming both ranges', async () => {
    expect(negotiate({ min: 1, max: 9 }, { min: 2, max: 4 })).toBe(4)
    expect(negotiate({ min: 1, max: 3 }, { min: 2, max: 4 })).toBe(3)
    for (const theirs of [
      { min: 5, max: 9 },
      { min: 1, max: 1 },
      { min: 3, max: 2 },
    ])
      expect(() => negotiate(theirs, { min: 2, max: 4 })).toThrow(/2 to 4/)
    await using bench = await Bench.start()
    expect(await rejection(bench.service.handshake({ ...hello, protocol: { min: 7, max: 9 } }, ctx()))).toMatchObject({
      code: 'INCOMPATIBLE_PEER',
      message: expect.stringContaining('7 to 9') as string,
      hint: 'Upgrade the agent.',
    })
  })
})

describe('what an adapter cannot honour', () => {
  test.each([
    ['portMappings', [{ hostPort: 80, containerPort: 80, protocol: 'tcp' }]],
    ['ips', ['10.0.0.9/24']],
    ['mac', '02:00:00:00:00:09'],
    ['ipRanges', [[{ subnet: '10.0.0.0/24' }]]],
    ['aliases', ['db']],
    ['madeUp', 1],
  ])('%s is refused before anything is done', async (name, value) => {
    await using bench = await Bench.start()
    const error = await rejection(bench.service.attach(call('a', 0, { runtimeConfig: { [name]: value } }), ctx()))
    expect(error).toMatchObject({
      code: 'UNSUPPORTED_FIELD',
      message: expect.stringContaining(`runtimeConfig.${name} = ${JSON.stringify(value)}`) as string,
    })
    expect(bench.network.calls).toEqual([])
    expect(bench.states()).toEqual({})
  })

  test('what it can honour, what is empty and what asks for nothing passes', async () => {
    await using bench = await Bench.start({ capabilities: { fixedMac: true } })
    const runtimeConfig = {
      bandwidth: { ingressRate: 1000, ingressBurst: 1000 },
      mac: '02:00:00:00:00:09',
      portMappings: [],
      ips: null,
      ipRanges: {},
      infinibandGUID: '',
      nested: { a: [], b: { c: '' } },
      dns: { servers: ['10.0.0.10'] },
      aliases: [],
      deviceID: '0000:01:00.1',
      CNIDeviceInfoFile: '/run/x',
      cgroupPath: '/kubepods/x',
      'io.kubernetes.cri.pod-annotations': { a: 'b' },
    }
    await bench.service.attach(call('a', 0, { runtimeConfig }), ctx())
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('host IPAM of a family that it lacks is refused', async () => {
    await using bench = await Bench.start({ capabilities: { families: ['ipv4'] } })
    const hostIpam = (address: string) => ({ hostIpam: { ips: [{ address }], routes: [], dns: {} } })
    expect(await rejection(bench.service.attach(call('a', 0, hostIpam('fd00::2/64')), ctx()))).toMatchObject({
      code: 'UNSUPPORTED_FIELD',
      message: expect.stringContaining('fd00::2/64') as string,
    })
    await bench.service.attach(call('a', 0, hostIpam('10.0.0.2/24')), ctx())
  })

  test('a network that nobody serves is refused, naming it and those served', async () => {
    await using bench = await Bench.start({ networks: ['podnet', 'storage'] })
    const error = await rejection(bench.service.attach(call('a', 0, { key: key('a', 'secret') }), ctx()))
    expect(error).toMatchObject({ code: 'INVALID_NETCONF', message: expect.stringMatching(/"secret".*podnet, storage/) as string })
  })
})

describe('check', () => {
  test('asks the adapter with what attach answered', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    await bench.service.check({ key: key('a') }, ctx())
    await bench.service.check({ key: key('a'), expected: result }, ctx())
    expect(bench.network.count('check')).toBe(2)
    bench.network.connected.delete('podnet/a/eth0')
    expect(await rejection(bench.service.check({ key: key('a') }, ctx()))).toMatchObject({ code: 'CHECK_FAILED' })
  })

  test('of what is unknown or not attached fails', async () => {
    await using bench = await Bench.start()
    expect(await rejection(bench.service.check({ key: key('a') }, ctx()))).toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringContaining('not known') as string,
    })
    await bench.service.attach(call('a', 0), ctx())
    bench.journal.detaching(key('a'))
    expect(await rejection(bench.service.check({ key: key('a') }, ctx()))).toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringContaining('detaching') as string,
    })
  })

  test('names the field in which host and DPU differ', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    const differing = {
      mtu: 9000,
      mac: '02:00:00:00:00:99',
      ips: [],
      routes: [],
      neighbours: [{ ip: '10.0.0.1', mac: '02:00:00:00:00:01' }],
      dns: { domain: 'x' },
      sysctls: { 'net.a': '1' },
    }
    for (const [field, value] of Object.entries(differing))
      expect(await rejection(bench.service.check({ key: key('a'), expected: { ...result, [field]: value } }, ctx()))).toMatchObject({
        code: 'CHECK_FAILED',
        message: expect.stringContaining(`${field} is`) as string,
      })
  })
})

describe('status', () => {
  test('is the adapters’ status, all of them or the one of a network', async () => {
    await using bench = await Bench.start({ networks: ['podnet'] })
    await bench.service.status({}, ctx())
    await bench.service.status({ network: 'podnet' }, ctx())
    bench.network.before.status = () => Promise.reject(new OffloadError('NOT_READY', 'no pool'))
    expect(await rejection(bench.service.status({}, ctx()))).toMatchObject({ code: 'NOT_READY', message: 'no pool' })
    expect(await rejection(bench.service.status({ network: 'podnet' }, ctx()))).toMatchObject({ code: 'NOT_READY' })
    expect(await rejection(bench.service.status({ network: 'other' }, ctx()))).toMatchObject({ code: 'INVALID_NETCONF' })
  })

  test('says that a lost device limits connectivity, and attaches on it fail at once', async () => {
    await using bench = await Bench.start()
    bench.device.tell({ kind: 'device-lost', device: 'card', reason: 'no heartbeat' })
    await vi.waitUntil(() => bench.runtime.health.trouble !== undefined)
    expect(await rejection(bench.service.status({}, ctx()))).toMatchObject({
      code: 'LIMITED_CONNECTIVITY',
      message: expect.stringContaining('no heartbeat') as string,
    })
    expect(await rejection(bench.service.attach(call('a', 0), ctx()))).toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('no heartbeat') as string,
    })
    expect(bench.network.calls).toEqual([])
    bench.device.tell({ kind: 'device-back', device: 'card' })
    bench.device.tell({ kind: 'vf-health', vf: { device: 'card', index: 0 }, health: 'unhealthy', reason: 'stuck queue' })
    await vi.waitUntil(() => bench.runtime.health.trouble === undefined)
    await bench.service.status({}, ctx())
    await vi.waitFor(async () => {
      expect(await rejection(bench.service.attach(call('a', 0), ctx()))).toMatchObject({
        message: expect.stringContaining('stuck queue') as string,
      })
    })
    await bench.service.attach(call('b', 1), ctx())
    bench.device.tell({ kind: 'vf-health', vf: { device: 'card', index: 0 }, health: 'healthy', reason: '' })
    await vi.waitFor(() => bench.service.attach(call('a', 0), ctx()))
  })
})

describe('drain', () => {
  test('lets running calls end and takes no new ones', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const running = bench.service.attach(call('a', 0), ctx())
    await barrier.reached
    const drained = bench.runtime.calls.drain(60_000, 60_000)
    expect(await rejection(bench.service.attach(call('b', 1), ctx()))).toMatchObject({ code: 'NOT_READY' })
    barrier.open()
    await drained
    await running
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('aborts what does not end in time; it is undone', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = (_id, op) => barrier.pass(op.signal)
    const running = rejection(bench.service.attach(call('a', 0), ctx()))
    await barrier.reached
    await bench.runtime.calls.drain(0, 60_000)
    expect(await running).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('stopping') as string })
    expect(bench.states()).toEqual({})
    expect(bench.runtime.calls.running).toBe(0)
  })

  test('does not wait for ever for a call that ignores its abort', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const running = rejection(bench.service.attach(call('a', 0), ctx()))
    await barrier.reached
    await bench.runtime.calls.drain(0, 0)
    expect(bench.runtime.calls.running).toBe(1)
    barrier.open()
    await running
  })
})

test('everything crosses the wire format unchanged', async () => {
  await using bench = await Bench.start()
  const client = createInMemoryClient(bench.service, HOST)
  const context = { signal: new AbortController().signal }
  const { result } = await client.attach(call('a', 0), context)
  await client.check({ key: key('a'), expected: result }, context)
  expect(await client.list(context)).toEqual(await bench.service.list(ctx()))
  expect(await rejection(client.attach(call('b', 0), context))).toMatchObject({ code: 'ALREADY_EXISTS' })
  const wired = async function* () {
    yield call('a', 0)
  }
  expect(await collect(client.resync(wired(), context))).toEqual([{ key: key('a'), action: 'kept', result }])
  await client.detach({ key: key('a') }, context)
  expect(bench.states()).toEqual({})
})

test('calls are measured by method and outcome', async () => {
  await using bench = await Bench.start()
  await bench.service.attach(call('a', 0), ctx())
  await rejection(bench.service.attach(call('b', 0), ctx()))
  const text = await bench.runtime.metrics.registry.metrics()
  expect(text).toContain('cni_offload_agent_call_duration_seconds_count{method="attach",outcome="OK"} 1')
  expect(text).toContain('cni_offload_agent_call_duration_seconds_count{method="attach",outcome="ALREADY_EXISTS"} 1')
  expect(text).toContain('cni_offload_agent_attachments{state="attached"} 1')
})
