import { OffloadError } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { Barrier, Bench, call, ctx, key, rejection } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'

const abortable = (): { readonly context: ReturnType<typeof ctx>; abort(): void } => {
  const controller = new AbortController()
  return {
    context: ctx({ signal: controller.signal }),
    abort: () => {
      controller.abort()
    },
  }
}

describe('attach', () => {
  test('connects the port of the VF, journals the result and answers it', async () => {
    await using bench = await Bench.start()
    const reply = await bench.service.attach(call('a', 3), ctx())
    expect(reply.port).toBe('port3')
    expect(reply.result).toEqual(bench.network.connected.get('podnet/a/eth0')?.result)
    expect(await bench.service.list(ctx())).toEqual([
      { key: key('a'), vf: { device: 'card', index: 3 }, port: 'port3', state: 'attached', result: reply.result, request: call('a', 3) },
    ])
  })

  test('again with the same key and VF gives the stored result without asking the adapter', async () => {
    await using bench = await Bench.start()
    const first = await bench.service.attach(call('a', 0), ctx())
    expect(await bench.service.attach(call('a', 0), ctx())).toEqual(first)
    await bench.restart()
    expect(await bench.service.attach(call('a', 0), ctx())).toEqual(first)
    expect(bench.network.count('attach')).toBe(1)
  })

  test('with another VF detaches the old port first', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    const reply = await bench.service.attach(call('a', 1), ctx())
    expect(reply.port).toBe('port1')
    expect(bench.network.calls).toEqual(['attach podnet/a/eth0', 'detach podnet/a/eth0', 'attach podnet/a/eth0'])
    await bench.service.attach(call('b', 0), ctx())
  })

  test('of a VF that another attachment has is refused, naming it, and touches nothing', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    const error = await rejection(bench.service.attach(call('b', 0), ctx()))
    expect(error).toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringContaining('podnet/a/eth0') as string })
    expect(bench.network.calls).toEqual(['attach podnet/a/eth0'])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('that is refused for another VF leaves the attachment where it was', async () => {
    await using bench = await Bench.start({ vfs: 2 })
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.attach(call('b', 1), ctx())
    expect(await rejection(bench.service.attach(call('a', 1), ctx()))).toMatchObject({ code: 'ALREADY_EXISTS' })
    expect(await rejection(bench.service.attach(call('a', 2), ctx()))).toMatchObject({ code: 'HARDWARE_FAILURE' })
    expect(bench.network.count('detach')).toBe(0)
    await bench.service.check({ key: key('a') }, ctx())
  })

  test('the same key twice at once asks the adapter once', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const replies = [bench.service.attach(call('a', 0), ctx()), bench.service.attach(call('a', 0), ctx())]
    await barrier.reached
    barrier.open()
    const [first, second] = await Promise.all(replies)
    expect(second).toEqual(first)
    expect(bench.network.count('attach')).toBe(1)
  })

  test('32 keys run at the same time, and no more than the limit', async () => {
    await using bench = await Bench.start({ vfs: 40, limits: { concurrency: 32 } })
    let active = 0
    let most = 0
    const full = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    bench.network.before.attach = async () => {
      most = Math.max(most, ++active)
      if (active === 32) full.resolve()
      await go.promise
      active--
    }
    const replies = Array.from({ length: 40 }, (_, index) => bench.service.attach(call(`c${index}`, index), ctx()))
    await full.promise
    go.resolve()
    const addresses = (await Promise.all(replies)).map(({ result }) => result.ips[0]?.address)
    expect(new Set(addresses).size).toBe(40)
    expect(most).toBe(32)
  })

  test('a VF without port leaves nothing', async () => {
    await using bench = await Bench.start({ vfs: 2 })
    expect(await rejection(bench.service.attach(call('a', 5), ctx()))).toMatchObject({ code: 'HARDWARE_FAILURE' })
    expect(bench.states()).toEqual({})
    expect(bench.network.calls).toEqual([])
  })
})

describe('a failing attach is undone', () => {
  test.each([
    ['before its effect', (bench: Bench) => (bench.network.before.attach = () => Promise.reject(new Error('no idea')))],
    ['after its effect', (bench: Bench) => (bench.network.afterAttach = () => Promise.reject(new Error('no idea')))],
  ])('when the adapter throws %s', async (_when, breakIt) => {
    await using bench = await Bench.start()
    breakIt(bench)
    const error = await rejection(bench.service.attach(call('a', 0), ctx()))
    expect(error).toMatchObject({ code: 'ADAPTER_FAILED', message: expect.stringMatching(/"fake".*no idea/) as string })
    expect(bench.network.calls).toEqual(['attach podnet/a/eth0', 'detach podnet/a/eth0'])
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
  })

  test('the code, message and hint of the adapter reach the host unchanged', async () => {
    await using bench = await Bench.start()
    bench.network.before.attach = () =>
      Promise.reject(new OffloadError('RESOURCE_EXHAUSTED', 'pool 10.0.0.0/30 is full', { hint: 'Make it larger.' }))
    expect(await rejection(bench.service.attach(call('a', 0), ctx()))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: 'pool 10.0.0.0/30 is full',
      hint: 'Make it larger.',
    })
  })

  test('when the adapter answers nonsense', async () => {
    await using bench = await Bench.start()
    bench.network.afterAttach = (_id, result) => ({ ...result, mac: 'not a mac' })
    const error = await rejection(bench.service.attach(call('a', 0), ctx()))
    expect(error).toMatchObject({ code: 'ADAPTER_FAILED', message: expect.stringContaining('not a mac') as string })
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
  })

  test('when the caller gives up, and the undoing is not cut short by it', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = (_id, op) => barrier.pass(op.signal)
    const undone: boolean[] = []
    bench.network.before.detach = (_id, op) => undone.push(op.signal.aborted)
    const { context, abort } = abortable()
    const reply = bench.service.attach(call('a', 0), context)
    await barrier.reached
    abort()
    expect(await rejection(reply)).toMatchObject({ code: 'CANCELLED' })
    expect(undone).toEqual([false])
    expect(bench.states()).toEqual({})
  })

  test('when the caller gives up just as the adapter answers', async () => {
    await using bench = await Bench.start()
    const { context, abort } = abortable()
    bench.network.afterAttach = abort
    expect(await rejection(bench.service.attach(call('a', 0), context))).toMatchObject({ code: 'CANCELLED' })
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
  })

  test.each([
    ['of the caller', 20, {}],
    ['of the agent', undefined, { callTimeoutMs: 20 }],
  ])('when the deadline %s passes', async (_whose, timeoutMs, limits) => {
    await using bench = await Bench.start({ limits })
    bench.network.before.attach = (_id, op) => new Barrier().pass(op.signal)
    const context = ctx(timeoutMs === undefined ? {} : { timeoutMs })
    expect(await rejection(bench.service.attach(call('a', 0), context))).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(bench.network.count('detach')).toBe(1)
    expect(bench.states()).toEqual({})
  })

  test('giving up while waiting for another call of the same key changes nothing', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const first = bench.service.attach(call('a', 0), ctx())
    await barrier.reached
    const { context, abort } = abortable()
    const second = bench.service.attach(call('a', 0), context)
    abort()
    expect(await rejection(second)).toMatchObject({ code: 'CANCELLED' })
    barrier.open()
    await first
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })
})

describe('undoing that fails', () => {
  test('is repeated with growing pauses until it works; the VF stays taken until then', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock, limits: { retryFirstMs: 100, retryMaxMs: 400 } })
    let failures = 5
    bench.network.afterAttach = () => Promise.reject(new Error('attach fails'))
    const gone = Promise.withResolvers<void>()
    bench.network.before.detach = () => {
      if (failures-- > 0) throw new Error('detach fails')
      gone.resolve()
    }
    expect(await rejection(bench.service.attach(call('a', 0), ctx()))).toMatchObject({
      message: expect.stringContaining('attach fails') as string,
    })
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'detaching' })
    expect(await bench.runtime.metrics.registry.metrics()).toContain('cni_offload_agent_detach_retries 1')
    bench.network.afterAttach = undefined
    expect(await rejection(bench.service.attach(call('b', 0), ctx()))).toMatchObject({ code: 'ALREADY_EXISTS' })

    for (const full of [100, 200, 400, 400, 400]) {
      const [pause] = await clock.wake()
      expect(pause).toBeGreaterThanOrEqual(full / 2)
      expect(pause).toBeLessThanOrEqual(full)
    }
    await gone.promise
    await bench.service.attach(call('a', 1), ctx())
    await bench.service.attach(call('b', 0), ctx())
    expect(bench.network.connected.size).toBe(2)
    expect(await bench.runtime.metrics.registry.metrics()).toContain('cni_offload_agent_detach_retries 0')
  })

  test('is done first by a new attach of the same key', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    bench.network.afterAttach = () => Promise.reject(new Error('attach fails'))
    bench.network.before.detach = () => Promise.reject(new Error('detach fails'))
    await rejection(bench.service.attach(call('a', 0), ctx()))
    expect(await rejection(bench.service.attach(call('a', 0), ctx()))).toMatchObject({
      message: expect.stringContaining('detach fails') as string,
    })
    bench.network.afterAttach = undefined
    bench.network.before.detach = undefined
    await bench.service.attach(call('a', 0), ctx())
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
    const before = bench.network.calls.length
    await clock.wake()
    await bench.service.check({ key: key('a') }, ctx())
    expect(bench.network.calls.slice(before)).toEqual(['check podnet/a/eth0'])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })
})

describe('detach', () => {
  test('disconnects and forgets; absent is success', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.detach({ key: key('a'), vf: { device: 'card', index: 0 } }, ctx())
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
    await bench.service.detach({ key: key('a') }, ctx())
    await bench.service.detach({ key: key('never') }, ctx())
  })

  test('reaches what the adapter holds although the journal does not know it', async () => {
    await using bench = await Bench.start()
    bench.network.connected.set('podnet/lost/eth0', { key: key('lost'), port: 'port0', result: bench.network.newResult() })
    await bench.service.detach({ key: key('lost') }, ctx())
    expect(bench.network.connected.size).toBe(0)
  })

  test('of a network that is not served is success', async () => {
    await using bench = await Bench.start({ networks: ['podnet'] })
    await bench.service.detach({ key: key('a', 'other') }, ctx())
    expect(bench.network.calls).toEqual([])
  })

  test('that fails tells so, keeps the VF and is repeated until it works', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    await bench.service.attach(call('a', 0), ctx())
    bench.network.before.detach = () => Promise.reject(new Error('not now'))
    expect(await rejection(bench.service.detach({ key: key('a') }, ctx()))).toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringContaining('not now') as string,
    })
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'detaching' })
    bench.network.before.detach = undefined
    await clock.wake()
    await bench.service.detach({ key: key('a') }, ctx())
    expect(bench.states()).toEqual({})
    expect(bench.network.connected.size).toBe(0)
  })

  test('may free an address before it is over: who gets that address waits for its end', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    const [letsGo, given] = [new Barrier(), new Barrier()]
    bench.network.before.detach = () => letsGo.pass()
    bench.network.afterAttach = (_id, fresh) => {
      setImmediate(() => void given.pass())
      return { ...fresh, ips: result.ips }
    }
    const detach = bench.service.detach({ key: key('a') }, ctx())
    await letsGo.reached
    const attach = bench.service.attach(call('b', 1), ctx())
    attach.catch(() => undefined)
    await given.reached
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'detaching', 'podnet/b/eth0': 'attaching' })
    letsGo.open()
    await detach
    expect((await attach).result.ips).toEqual(result.ips)
  })

  test('waits for a running attach of the same key', async () => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    bench.network.before.attach = () => barrier.pass()
    const attach = bench.service.attach(call('a', 0), ctx())
    await barrier.reached
    const detach = bench.service.detach({ key: key('a') }, ctx())
    barrier.open()
    await attach
    await detach
    expect(bench.network.calls).toEqual(['attach podnet/a/eth0', 'detach podnet/a/eth0'])
    expect(bench.states()).toEqual({})
  })
})
