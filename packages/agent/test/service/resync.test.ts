import { type AttachResult, OffloadError } from '@cni-offload/sdk'
import type { AttachCall } from '@cni-offload/protocol'
import { describe, expect, test } from 'vitest'
import { Barrier, Bench, call, collect, ctx, key, rejection } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'
import { FakeNetwork } from '../support/fakes.ts'

const shortly = (events: Awaited<ReturnType<Bench['resync']>>): Record<string, string> =>
  Object.fromEntries(events.map((event) => [event.key.containerId, event.action]))

describe('resync', () => {
  test('keeps what is fine, attaches what is missing, detaches strays; one event for each', async () => {
    await using bench = await Bench.start()
    const kept = await bench.service.attach(call('kept', 0), ctx())
    await bench.service.attach(call('gone', 1), ctx())
    await bench.service.attach(call('stray', 2), ctx())
    bench.network.connected.delete('podnet/gone/eth0')
    bench.network.connected.set('podnet/ghost/eth0', { key: key('ghost'), port: 'port5', result: bench.network.newResult() })

    const events = await bench.resync([call('kept', 0), call('gone', 1), call('new', 3)])
    expect(events).toHaveLength(5)
    expect(shortly(events)).toEqual({ kept: 'kept', gone: 'reattached', new: 'reattached', stray: 'detached', ghost: 'detached' })
    expect(events.find(({ action }) => action === 'kept')?.result).toEqual(kept.result)
    expect(events.find((event) => event.key.containerId === 'gone')?.result).toEqual(
      bench.network.connected.get('podnet/gone/eth0')?.result,
    )
    expect(bench.states()).toEqual({ 'podnet/kept/eth0': 'attached', 'podnet/gone/eth0': 'attached', 'podnet/new/eth0': 'attached' })
    expect([...bench.network.connected.keys()].toSorted()).toEqual(['podnet/gone/eth0', 'podnet/kept/eth0', 'podnet/new/eth0'])
    expect(await bench.runtime.metrics.registry.metrics()).toContain('cni_offload_agent_resync_events_total{action="reattached"} 2')
  })

  test('a second one finds everything fine', async () => {
    await using bench = await Bench.start()
    const wired = [call('a', 0), call('b', 1)]
    await bench.resync(wired)
    const before = bench.network.calls.length
    expect(shortly(await bench.resync(wired))).toEqual({ a: 'kept', b: 'kept' })
    expect(bench.network.calls).toHaveLength(before)
  })

  test('survives the loss of the journal and of the network', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    bench.forget('a')
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ a: 'reattached' })
    expect(bench.network.count('attach')).toBe(2)
    bench.network.connected.clear()
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ a: 'reattached' })
    expect(bench.network.connected.size).toBe(1)
  })

  describe('what the host says that a running pod has', () => {
    const had = (address: string): AttachResult => ({
      ...new FakeNetwork().newResult(),
      mac: '02:00:00:00:ff:01',
      ips: [{ address }],
    })

    test('is asked of the adapter, whatever was remembered, and is no part of the request', async () => {
      await using bench = await Bench.start()
      await bench.service.attach(call('known', 0), ctx())
      bench.network.connected.clear()
      const [known, unknown] = [had('10.9.0.1/16'), had('10.9.0.2/16')]
      const events = await bench.resync([call('known', 0, { had: known }), call('unknown', 1, { had: unknown })])
      expect(events.map(({ action, result }) => [action, result])).toEqual([
        ['reattached', known],
        ['reattached', unknown],
      ])
      expect(bench.journal.all().map(({ request, result }) => [request.had, result])).toEqual([
        [undefined, known],
        [undefined, unknown],
      ])
    })

    test('is what the agent remembers, where the host does not say', async () => {
      await using bench = await Bench.start()
      const { result } = await bench.service.attach(call('a', 0), ctx())
      bench.network.connected.clear()
      expect(await bench.resync([call('a', 0)])).toMatchObject([{ action: 'reattached', result }])
    })

    test('means nothing in a call of its own', async () => {
      await using bench = await Bench.start()
      const { result } = await bench.service.attach(call('a', 0, { had: had('10.9.0.1/16') }), ctx())
      expect(result.ips).not.toEqual([{ address: '10.9.0.1/16' }])
    })

    test.each([
      ['10.9.0.1/16', '10.9.0.1/16'],
      ['fd00:9::1/64', 'fd00:9:0:0:0:0:0:1/64'],
    ])('%s goes to no other pod (as %s) while it cannot be attached again, and is free once the pod is over', async (address, given) => {
      await using bench = await Bench.start()
      const wanted = had(address)
      const running = call('a', 0, { had: wanted })
      bench.network.before.attach = () => Promise.reject(new OffloadError('ADAPTER_FAILED', 'not yet'))
      expect(shortly(await bench.resync([running]))).toEqual({ a: 'failed' })
      // A pool that has lost everything gives what is in use as if it were free.
      bench.network.before = {}
      bench.network.afterAttach = (_id, result) => ({ ...result, ips: [{ address: given }] })
      const failure = await rejection(bench.service.attach(call('b', 1), ctx()))
      const told = expect.stringContaining(`${address.split('/', 1).join()}, which running pod podnet/a/eth0 uses`) as string
      expect(failure).toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: told })
      expect(bench.states()).toEqual({})
      expect(bench.network.connected.size).toBe(0)

      expect(shortly(await bench.resync([running]))).toEqual({ a: 'reattached' })
      await bench.service.detach({ key: key('a') }, ctx())
      await bench.service.attach(call('b', 1), ctx())
      expect(bench.states()).toEqual({ 'podnet/b/eth0': 'attached' })
    })

    test.each([
      ['ends', (bench: Bench) => bench.service.detach({ key: key('a') }, ctx())],
      ['is no longer named', (bench: Bench) => bench.resync([])],
    ])('is free once the pod %s without having been attached again', async (_what, end) => {
      await using bench = await Bench.start()
      const wanted = had('10.9.0.1/16')
      bench.network.before.attach = () => Promise.reject(new OffloadError('ADAPTER_FAILED', 'not yet'))
      await bench.resync([call('a', 0, { had: wanted })])
      await end(bench)
      bench.network.before = {}
      bench.network.afterAttach = (_id, result) => ({ ...result, ips: wanted.ips })
      expect((await bench.service.attach(call('b', 1), ctx())).result.ips).toEqual(wanted.ips)
    })
  })

  test('what the host says that a pod has is free once its detach, that failed at first, has been repeated', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.network.connected.clear()
    bench.network.before.attach = () => Promise.reject(new OffloadError('ADAPTER_FAILED', 'not yet'))
    expect(shortly(await bench.resync([call('a', 0, { had: result })]))).toEqual({ a: 'failed' })
    bench.network.before.detach = () => Promise.reject(new Error('busy'))
    await rejection(bench.service.detach({ key: key('a') }, ctx()))
    bench.network.before = {}
    await clock.wake()
    await expect.poll(() => bench.states(), { timeout: 30_000 }).toEqual({})
    bench.network.afterAttach = (_id, fresh) => ({ ...fresh, ips: result.ips })
    expect((await bench.service.attach(call('b', 1), ctx())).result.ips).toEqual(result.ips)
  })

  test('what the host says that a pod has is held although a detach ends just before', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.network.before.detach = () => Promise.reject(new Error('busy'))
    await rejection(bench.service.detach({ key: key('a') }, ctx()))
    const letsGo = new Barrier()
    bench.network.before = { detach: () => letsGo.pass(), attach: () => Promise.reject(new OffloadError('ADAPTER_FAILED', 'not yet')) }
    await clock.wake()
    await letsGo.reached
    const events = bench.resync([call('a', 0, { had: result })])
    // Gives the resync every chance to wait for the detach.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    letsGo.open()
    expect(shortly(await events)).toEqual({ a: 'failed' })
    bench.network.before = {}
    bench.network.afterAttach = (_id, fresh) => ({ ...fresh, ips: result.ips })
    expect(await rejection(bench.service.attach(call('b', 1), ctx()))).toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
  })

  test('an attachment that fails does not stop the others', async () => {
    await using bench = await Bench.start({ networks: ['podnet'] })
    const { result } = await bench.service.attach(call('bad', 0), ctx())
    bench.network.connected.clear()
    bench.network.before.attach = (id) => {
      if (id.includes('/bad/')) throw new OffloadError('RESOURCE_EXHAUSTED', 'no address left')
    }
    const events = await bench.resync([call('bad', 0), call('good', 1), call('alien', 2, { key: key('alien', 'other') })])
    expect(shortly(events)).toEqual({ bad: 'failed', good: 'reattached', alien: 'failed' })
    expect(events.find((event) => event.key.containerId === 'bad')?.error).toEqual({
      code: 'RESOURCE_EXHAUSTED',
      message: 'no address left',
    })
    expect(events.find((event) => event.key.containerId === 'alien')?.error?.code).toBe('INVALID_NETCONF')
    // The pod of the one that failed runs and uses its addresses.
    expect(bench.states()).toEqual({ 'podnet/bad/eth0': 'attached', 'podnet/good/eth0': 'attached' })
    expect(bench.journal.get(key('bad'))?.result).toEqual(result)
    expect(bench.network.count('detach')).toBe(0)
  })

  test.each([
    ['fails before its effect', (bench: Bench) => (bench.network.before.attach = () => Promise.reject(new Error('no idea')))],
    ['fails after its effect', (bench: Bench) => (bench.network.afterAttach = () => Promise.reject(new Error('no idea')))],
    ['answers nonsense', (bench: Bench) => (bench.network.afterAttach = (_id, result) => ({ ...result, mtu: -1 }))],
    [
      'says that another has the port',
      (bench: Bench) => (bench.network.before.attach = () => Promise.reject(new OffloadError('ALREADY_EXISTS', 'taken'))),
    ],
  ])('what a pod has stays its own when the adapter %s, and is attached by a later resync', async (_what, breakIt) => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.network.connected.clear()
    breakIt(bench)
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ a: 'failed' })
    expect(bench.journal.get(key('a'))).toMatchObject({ state: 'attached', result })
    await bench.restart()
    expect(bench.journal.get(key('a'))).toMatchObject({ state: 'attached', result })
    expect(bench.network.count('detach')).toBe(0)

    bench.network.before = {}
    bench.network.afterAttach = undefined
    bench.network.connected.clear()
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ a: 'reattached' })
    expect(bench.journal.get(key('a'))?.result).toEqual(bench.network.connected.get('podnet/a/eth0')?.result)
  })

  test('an agent that dies while it attaches again what a pod has takes nothing from the pod', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.network.connected.clear()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const events = bench.resync([call('a', 0)]).catch((error: unknown) => error)
    await barrier.reached
    const killed = bench.kill()
    barrier.open()
    await events
    await killed
    bench.network.before = {}
    await bench.boot()
    expect(bench.journal.get(key('a'))).toMatchObject({ state: 'attached', result })
    expect(bench.network.count('detach')).toBe(0)
  })

  test('what only the network knows is not detached either when the host has it and attaching fails', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    bench.forget('a')
    bench.network.before.attach = () => Promise.reject(new OffloadError('NOT_READY', 'still starting'))
    expect(await bench.resync([call('a', 0)])).toMatchObject([{ action: 'failed', error: { code: 'NOT_READY' } }])
    expect(bench.network.count('detach')).toBe(0)
    expect(bench.states()).toEqual({})
    await bench.service.detach({ key: key('a') }, ctx())
    expect(bench.network.connected.size).toBe(0)
  })

  test('one that hangs fails when its own time is up, after the others have been brought in line', async () => {
    await using bench = await Bench.start({ limits: { callTimeoutMs: 500, concurrency: 2 } })
    const { result } = await bench.service.attach(call('hung', 0), ctx())
    await bench.service.attach(call('stray', 3), ctx())
    bench.network.connected.delete('podnet/hung/eth0')
    const never = new Barrier()
    bench.network.before.attach = (id, { signal }) => (id.includes('/hung/') ? never.pass(signal) : undefined)
    bench.network.before.detach = (_id, { signal }) => never.pass(signal)
    const events = await bench.resync([call('hung', 0), call('b', 1), call('c', 2)])
    expect(shortly(events)).toEqual({ hung: 'failed', b: 'reattached', c: 'reattached', stray: 'failed' })
    for (const id of ['hung', 'stray'])
      expect(events.find((event) => event.key.containerId === id)?.error?.code, id).toBe('DEADLINE_EXCEEDED')
    expect(bench.journal.get(key('hung'))).toMatchObject({ state: 'attached', result })
    bench.network.before = {}
  })

  test('an adapter that never says what it holds does not hold up the resync', async () => {
    await using bench = await Bench.start({ limits: { callTimeoutMs: 500 } })
    await bench.service.attach(call('a', 0), ctx())
    bench.network.before.list = () => new Promise(() => undefined)
    expect(await bench.resync([call('a', 0)])).toMatchObject([{ action: 'failed', error: { code: 'DEADLINE_EXCEEDED' } }])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
    // Nor the start of an agent.
    await bench.restart()
  })

  test('a stray that cannot be detached is reported and repeated', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    await bench.service.attach(call('stray', 0), ctx())
    bench.network.before.detach = () => Promise.reject(new Error('busy'))
    expect(await bench.resync([])).toMatchObject([{ action: 'failed', error: { code: 'ADAPTER_FAILED' } }])
    bench.network.before.detach = undefined
    await clock.wake()
    await bench.service.detach({ key: key('stray') }, ctx())
    expect(bench.states()).toEqual({})
  })

  test('a VF that a stray has is given to the attachment that the host names', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('stray', 0), ctx())
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ stray: 'detached', a: 'reattached' })
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('an attachment on another VF than the host says is moved there', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    expect(shortly(await bench.resync([call('a', 1)]))).toEqual({ a: 'reattached' })
    expect(bench.network.connected.get('podnet/a/eth0')?.port).toBe('port1')
  })

  test('attachments that have changed places are put right', async () => {
    await using bench = await Bench.start()
    for (const [id, vf] of [
      ['a', 0],
      ['b', 1],
      ['c', 2],
    ] as const)
      await bench.service.attach(call(id, vf), ctx())
    expect(shortly(await bench.resync([call('a', 1), call('b', 2), call('c', 0)]))).toEqual({
      a: 'reattached',
      b: 'reattached',
      c: 'reattached',
    })
    expect(Object.fromEntries([...bench.network.connected.values()].map(({ key: { containerId }, port }) => [containerId, port]))).toEqual({
      a: 'port1',
      b: 'port2',
      c: 'port0',
    })
  })

  test('a VF that the host names twice goes to one of the two', async () => {
    await using bench = await Bench.start()
    const events = await bench.resync([call('a', 0), call('b', 0)])
    expect(events.map(({ action }) => action).toSorted()).toEqual(['failed', 'reattached'])
    expect(events.find(({ action }) => action === 'failed')?.error?.code).toBe('ALREADY_EXISTS')
    expect(bench.network.connected.size).toBe(1)
  })

  test('one that waits to be detached is attached anew when the host names it', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    await bench.service.attach(call('a', 0), ctx())
    bench.network.before.detach = () => Promise.reject(new Error('busy'))
    await rejection(bench.service.detach({ key: key('a') }, ctx()))
    bench.network.before.detach = undefined
    expect(shortly(await bench.resync([call('a', 0)]))).toEqual({ a: 'reattached' })
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('an adapter that cannot tell what it holds loses nothing', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.attach(call('b', 1), ctx())
    bench.network.before.list = () => Promise.reject(new OffloadError('NOT_READY', 'still starting'))
    expect(await bench.resync([call('a', 0)])).toEqual([
      { key: key('a'), action: 'failed', error: { code: 'NOT_READY', message: 'still starting' } },
    ])
    expect(bench.network.connected.size).toBe(2)
  })

  test.each(['fails', 'is cancelled'])('detaches nothing when the list of the host %s half-way', async (how) => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.attach(call('b', 1), ctx())
    const controller = new AbortController()
    const wired = async function* (): AsyncGenerator<AttachCall> {
      yield call('a', 0)
      if (how === 'fails') throw new OffloadError('AGENT_UNREACHABLE', 'connection lost')
      controller.abort()
      await new Promise(() => undefined)
    }
    const error = await rejection(collect(bench.service.resync(wired(), ctx({ signal: controller.signal }))))
    expect(error.code).toBe(how === 'fails' ? 'AGENT_UNREACHABLE' : 'CANCELLED')
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached', 'podnet/b/eth0': 'attached' })
    expect(bench.network.count('detach')).toBe(0)
  })

  test('an attach that happens meanwhile is no stray', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    const wired = async function* (): AsyncGenerator<AttachCall> {
      await barrier.pass()
    }
    const events = collect(bench.service.resync(wired(), ctx()))
    await barrier.reached
    await bench.service.attach(call('a', 0), ctx())
    barrier.open()
    expect(await events).toEqual([])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('a key made anew while it was taken for a stray stays', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    const barrier = new Barrier()
    const wired = async function* (): AsyncGenerator<AttachCall> {
      await barrier.pass()
    }
    const events = collect(bench.service.resync(wired(), ctx()))
    await barrier.reached
    await bench.service.detach({ key: key('a') }, ctx())
    await bench.service.attach(call('a', 1), ctx())
    barrier.open()
    expect(await events).toEqual([])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('two at once run one after the other; ending one early lets the next go on', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    const hanging = async function* (): AsyncGenerator<AttachCall> {
      await barrier.pass()
    }
    const controller = new AbortController()
    const first = rejection(collect(bench.service.resync(hanging(), ctx({ signal: controller.signal }))))
    await barrier.reached
    const second = bench.resync([call('a', 0)])
    // Gives the second one every chance to run ahead.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(bench.network.count('attach')).toBe(0)
    controller.abort()
    expect(await first).toMatchObject({ code: 'CANCELLED' })
    expect(shortly(await second)).toEqual({ a: 'reattached' })
    barrier.open()
  })

  test('attachments of networks that the agent does not serve are left alone', async () => {
    await using bench = await Bench.start({ networks: ['podnet'] })
    bench.journal.begin(call('x', 0, { key: key('x', 'other') }), 'port0', '*/fake')
    bench.network.connected.set('other/y/eth0', { key: key('y', 'other'), port: 'port1', result: bench.network.newResult() })
    expect(await bench.resync([])).toEqual([])
    expect(bench.network.calls).toEqual([])
  })
})
