import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Bench, call, ctx, key } from '../support/bench.ts'

/** Restarts the agent with a journal that cannot be read. */
const loseJournal = async (bench: Bench): Promise<void> => {
  await bench.kill()
  writeFileSync(join(bench.dir, 'journal.db'), 'no journal any more'.repeat(1000))
  await bench.boot()
}

const actions = (events: readonly { readonly key: { readonly containerId: string }; readonly action: string }[]): string[] =>
  events.map((event) => `${event.key.containerId} ${event.action}`).toSorted()

describe('an agent and its adapters, one of which has lost its state', () => {
  test('the agent has again what its adapters remember, with request and answer, and touches nothing', async () => {
    await using bench = await Bench.start()
    bench.network.remembers = true
    const asked = call('a', 0, { runtimeConfig: { bandwidth: { ingressRate: 1 } }, cniArgs: { K8S_POD_NAME: 'a' } })
    await bench.service.attach(asked, ctx())
    await bench.service.attach(call('b', 1), ctx())
    const before = await bench.service.list(ctx())
    const calls = bench.network.calls.length
    await loseJournal(bench)
    expect(await bench.service.list(ctx())).toEqual(before)
    expect(before[0]?.request).toEqual(asked)
    expect(actions(await bench.resync([asked, call('b', 1)]))).toEqual(['a kept', 'b kept'])
    expect(bench.network.calls).toHaveLength(calls)
  })

  test('what the host does not have any more is detached with its port', async () => {
    await using bench = await Bench.start()
    bench.network.remembers = true
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.attach(call('b', 1), ctx())
    await loseJournal(bench)
    expect(actions(await bench.resync([call('a', 0)]))).toEqual(['a kept', 'b detached'])
    expect([...bench.network.connected.keys()]).toEqual(['podnet/a/eth0'])
  })

  test('what did not come to its end is ended', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    bench.network.remembers = 'incomplete'
    await loseJournal(bench)
    expect(bench.states()).toEqual({})
    expect(bench.network.connected.size).toBe(0)
  })

  test('the journal has the last word on what it knows, and a VF has one attachment', async () => {
    await using bench = await Bench.start()
    bench.network.remembers = true
    await bench.service.attach(call('a', 0), ctx())
    const [held] = bench.network.connected.values()
    await bench.restart()
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
    bench.network.connected.set('podnet/b/eth0', { ...held!, key: key('b'), request: { ...held!.request!, key: key('b') } })
    await bench.restart()
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
    expect(actions(await bench.resync([call('a', 0)]))).toEqual(['a kept', 'b detached'])
  })

  test('an adapter is told what the journal has attached of its networks', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.network.before.detach = () => {
      throw new Error('not now')
    }
    await bench.service.attach(call('b', 1), ctx())
    await expect(bench.service.detach({ key: key('b') }, ctx())).rejects.toThrow(/not now/)
    await bench.restart()
    const { vf, ...rest } = call('a', 0)
    expect(bench.adapter.known).toEqual([{ request: { ...rest, port: { vf, name: 'port0' } }, result }])
  })
})
