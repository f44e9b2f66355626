import { formatAttachmentKey, OffloadError, type RepairRecord } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import type { AgentLimits } from '../../src/limits.ts'
import { Barrier, Bench, call, ctx, key, rejection } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'

const LOOK = 5_000
const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
const id = (containerId: string): string => formatAttachmentKey(key(containerId))

describe('the reconciler of the agent', () => {
  /** An agent with some attachments; thorough checks do not come in between unless they are asked for. */
  const start = async (containers: readonly string[], limits: Partial<AgentLimits> = {}) => {
    const clock = new TestClock()
    const bench = await Bench.start({ clock, limits: { reconcileMs: LOOK, checkEveryMs: 1_000_000_000, ...limits } })
    for (const [vf, name] of containers.entries()) await bench.service.attach(call(name, vf), ctx())
    const look = async (times = 1): Promise<void> => {
      for (let time = 0; time < times; time++) {
        clock.advance(LOOK)
        await turns()
      }
    }
    const records = async (containerId: string): Promise<readonly RepairRecord[]> =>
      (await bench.service.list(ctx())).find((state) => state.key.containerId === containerId)?.repairs ?? []
    return { bench, clock, look, records, [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose]() }
  }

  test('attaches again what the network has lost, with the same addresses, when a second look confirms it', async () => {
    await using agent = await start(['a', 'b'])
    const { bench, look, records } = agent
    const before = bench.network.connected.get(id('a'))!
    bench.network.connected.delete(id('a'))
    bench.network.afterAttach = () => before.result
    await look()
    expect(bench.network.count('attach')).toBe(2)
    await look()
    expect(bench.network.connected.has(id('a'))).toBe(true)
    expect(await bench.service.list(ctx())).toMatchObject([{ result: before.result }, {}])
    expect(await records('a')).toMatchObject([
      { action: 'reattach', outcome: 'repaired', times: 1, found: [`${id('a')} is not connected to port0`] },
    ])
    expect(await records('b')).toEqual([])
    expect(await bench.runtime.metrics.registry.metrics()).toContain(
      'cni_offload_agent_reconciler_actions_total{action="reattach",outcome="repaired"} 1',
    )
    const attaches = bench.network.count('attach')
    await look(5)
    expect(bench.network.count('attach')).toBe(attaches)
  })

  test('does nothing when it is switched off, and nothing when all is well', async () => {
    await using off = await start(['a'], { reconcileMs: 0 })
    off.bench.network.connected.clear()
    await off.look(3)
    expect(off.bench.network.count('attach')).toBe(1)
    await using well = await start(['a'])
    await well.look(3)
    expect(well.bench.network.calls).toEqual([`attach ${id('a')}`])
  })

  test('tries again with growing pauses what fails, and says why', async () => {
    await using agent = await start(['a'])
    const { bench, look, records } = agent
    bench.network.connected.clear()
    bench.network.before.attach = () => Promise.reject(new OffloadError('HARDWARE_FAILURE', 'port0 is nowhere', { hint: 'Plug it in.' }))
    await look(40)
    const failures = await records('a')
    expect(failures.map(({ times }) => times)).toEqual([1, 2, 3, 4, 5, 6])
    expect(failures[0]).toMatchObject({ outcome: 'failed', reason: 'port0 is nowhere (Plug it in.)' })
    expect(bench.states()).toEqual({ [id('a')]: 'attached' })
    expect(failures.slice(1).map(({ at }, n) => Math.round((at - failures[n]!.at) / LOOK))).toEqual([2, 2, 4, 8, 16])
  })

  test('says so when the network gives a running pod other addresses', async () => {
    await using agent = await start(['a'])
    agent.bench.network.connected.clear()
    agent.bench.network.afterAttach = () => agent.bench.network.newResult()
    await agent.look(2)
    expect(await agent.records('a')).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining('has to be restarted') }])
  })

  test('repairs no more at a time than it may', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    await using agent = await start(names, { repairBurst: 2, repairEveryMs: LOOK })
    agent.bench.network.connected.clear()
    await agent.look(2)
    expect(agent.bench.network.connected.size).toBe(2)
    await agent.look()
    expect(agent.bench.network.connected.size).toBe(3)
    await agent.look(3)
    expect(agent.bench.network.connected.size).toBe(6)
  })

  test('leaves an attachment to whoever works on it', async () => {
    await using agent = await start(['a'])
    const { bench, look } = agent
    bench.network.connected.clear()
    await look()
    const busy = new Barrier()
    bench.network.before.detach = () => busy.pass()
    const ending = bench.service.detach({ key: key('a') }, ctx())
    await busy.reached
    await look(2)
    busy.open()
    await ending
    await look(2)
    expect(bench.network.calls).toEqual([`attach ${id('a')}`, `detach ${id('a')}`])
    expect(bench.states()).toEqual({})
  })

  test('does not bring back what has ended, nor make again what was made again, while it was looking', async () => {
    await using agent = await start(['a', 'b'])
    const { bench, look } = agent
    bench.network.connected.clear()
    await look()
    const listed = new Barrier()
    bench.network.before.list = () => listed.pass()
    await look()
    await listed.reached
    bench.network.before = {}
    // The resync makes b again and ends a.
    expect(await bench.resync([call('b', 1)])).toMatchObject([{ action: 'reattached' }, { action: 'detached' }])
    bench.network.connected.delete(id('b'))
    const before = [...bench.network.calls]
    listed.open()
    await turns()
    expect(bench.network.calls).toEqual(before)
    await look(2)
    expect(bench.states()).toEqual({ [id('b')]: 'attached' })
    expect([...bench.network.connected.keys()], 'what is missing since then is repaired in its turn').toEqual([id('b')])
  })

  test('gives way to a detach at once', async () => {
    // It would hang for an hour.
    await using agent = await start(['a'], { callTimeoutMs: 3_600_000 })
    const { bench, look } = agent
    bench.network.connected.clear()
    const hanging = new Barrier()
    bench.network.before.attach = (_id, { signal }) => hanging.pass(signal)
    await look(2)
    await hanging.reached
    await bench.service.detach({ key: key('a') }, ctx())
    expect(bench.states()).toEqual({})
    expect(bench.network.connected.size).toBe(0)
  })

  test.each(['while it is attached again', 'after a restart'])('what the network has lost goes to no new pod %s', async (when) => {
    await using agent = await start(['a'], { callTimeoutMs: 3_600_000 })
    const { bench, look } = agent
    const lost = bench.network.connected.get(id('a'))!.result
    bench.network.connected.clear()
    const hanging = new Barrier()
    bench.network.before.attach = (of, { signal }) => (of === id('a') ? hanging.pass(signal) : undefined)
    if (when === 'after a restart') await bench.restart()
    else {
      await look(2)
      await hanging.reached
    }
    // The pool gives what it has lost as if it were free.
    bench.network.afterAttach = (_id, result) => ({ ...result, ips: lost.ips })
    const failure = await rejection(bench.service.attach(call('c', 1), ctx()))
    expect(failure).toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining(`which attachment ${id('a')} has`) })
    expect(bench.states()).toEqual({ [id('a')]: 'attached' })
    expect([...bench.network.connected.keys()]).toEqual([])
    // Another network may use the same addresses.
    await bench.service.attach(call('d', 2, { key: key('d', 'othernet') }), ctx())

    hanging.open()
    await bench.service.detach({ key: key('a') }, ctx())
    expect((await bench.service.attach(call('c', 1), ctx())).result.ips).toEqual(lost.ips)
  })

  test('ends promptly when the agent stops', async () => {
    const agent = await start(['a'])
    agent.bench.network.connected.clear()
    const hanging = new Barrier()
    agent.bench.network.before.attach = (_id, { signal }) => hanging.pass(signal)
    await agent.look(2)
    await hanging.reached
    await agent[Symbol.asyncDispose]()
  })

  test('only reports what nobody has asked for, and a network that cannot tell what it holds', async () => {
    await using agent = await start(['a'])
    const { bench, look } = agent
    bench.network.connected.set(id('stray'), { key: key('stray'), port: 'port7', result: bench.network.newResult() })
    await look(3)
    expect(bench.network.connected.has(id('stray'))).toBe(true)
    bench.network.before.list = () => Promise.reject(new Error('no socket'))
    await look(3)
    const count = (await bench.runtime.metrics.registry.metrics()).split('\n').filter((line) => line.includes('outcome="reported"'))
    expect(count).toEqual(['cni_offload_agent_reconciler_actions_total{action="report",outcome="reported"} 2'])
  })

  test('what was nobody’s for a while is reported again when it comes back, and waits for a second look once it is somebody’s', async () => {
    await using agent = await start([])
    const { bench, look } = agent
    const stray = { key: key('a'), port: 'port0', result: bench.network.newResult() }
    const reported = async (): Promise<string | undefined> =>
      /outcome="reported"} (\d+)/.exec(await bench.runtime.metrics.registry.metrics())?.[1]
    bench.network.connected.set(id('a'), stray)
    await look(3)
    bench.network.connected.clear()
    await look()
    expect(await reported()).toBe('1')
    bench.network.connected.set(id('a'), stray)
    await look(2)
    expect(await reported()).toBe('2')
    await bench.service.attach(call('a', 0), ctx())
    bench.network.connected.clear()
    const attaches = bench.network.count('attach')
    await look()
    expect(bench.network.count('attach'), 'one look is not enough').toBe(attaches)
    await look()
    expect(bench.network.connected.has(id('a'))).toBe(true)
  })

  describe('checks thoroughly', () => {
    const CHECKS = { checkEveryMs: 1_000, checkAgainMs: 600_000 }

    test('each attachment soon after it was made, one at a time, and then now and then', async () => {
      await using agent = await start(['a', 'b', 'c'], CHECKS)
      const { bench, clock, look } = agent
      await look()
      expect(bench.network.count('check')).toBe(0)
      const seen: number[] = []
      for (let second = 0; second < 5; second++) {
        clock.advance(1_000)
        await turns()
        seen.push(bench.network.count('check'))
      }
      expect(seen).toEqual([1, 2, 3, 3, 3])
      await look(115)
      expect(bench.network.count('check')).toBe(3)
      await look(12)
      expect(bench.network.count('check')).toBe(6)
    })

    test('and only reports, once, that the network cannot tell', async () => {
      await using agent = await start(['a'], CHECKS)
      const { bench, look, records } = agent
      const attaches = bench.network.count('attach')
      bench.network.before.check = () => Promise.reject(new OffloadError('ADAPTER_FAILED', 'the API server is away'))
      await look(400)
      expect(bench.network.count('check')).toBeGreaterThan(3)
      expect(bench.network.count('attach')).toBe(attaches)
      expect(await records('a')).toMatchObject([
        { action: 'report', found: ['the network cannot tell whether it is sound: the API server is away'] },
      ])
    })

    test('and attaches again what is found wrong twice; whether that has helped is checked', async () => {
      await using agent = await start(['a'], CHECKS)
      const { bench, look, records } = agent
      let wrong = true
      bench.network.before.check = () => {
        if (wrong) throw new OffloadError('CHECK_FAILED', 'the veth left the bridge')
      }
      bench.network.before.attach = () => void (wrong = false)
      await look(3)
      expect(await records('a')).toMatchObject([{ action: 'reattach', outcome: 'repaired', found: ['the veth left the bridge'] }])
      const stubborn = await start(['b'], CHECKS)
      stubborn.bench.network.before.check = () => Promise.reject(new OffloadError('CHECK_FAILED', 'no such rule'))
      await stubborn.look(4)
      expect((await stubborn.records('b'))[0]).toMatchObject({ outcome: 'failed', reason: 'attaching it again did not help: no such rule' })
      await stubborn[Symbol.asyncDispose]()
    })
  })
})
