import { type Logger, silentLogger } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { Barrier, Bench, call, ctx, key, rejection } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'

/** Kills the agent at a point inside of a call and waits until the call has noticed. */
const killAt = async (bench: Bench, barrier: Barrier, running: Promise<unknown>): Promise<void> => {
  await barrier.reached
  const noticed = rejection(running)
  const killed = bench.kill()
  barrier.open()
  await noticed
  await killed
  bench.network.before = {}
  bench.network.afterAttach = undefined
}

describe('after a crash', () => {
  test.each(['before', 'after'] as const)('%s the effect of an attach nothing is left of it', async (when) => {
    await using bench = await Bench.start()
    const barrier = new Barrier()
    if (when === 'before') bench.network.before.attach = () => barrier.pass()
    else bench.network.afterAttach = () => barrier.pass()
    await killAt(bench, barrier, bench.service.attach(call('a', 0), ctx()))
    expect(bench.network.connected.size).toBe(when === 'before' ? 0 : 1)
    await bench.boot()
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
    await bench.service.attach(call('b', 0), ctx())
  })

  test('inside of a detach it is finished', async () => {
    await using bench = await Bench.start()
    await bench.service.attach(call('a', 0), ctx())
    const barrier = new Barrier()
    bench.network.before.detach = () => barrier.pass()
    await killAt(bench, barrier, bench.service.detach({ key: key('a') }, ctx()))
    expect(bench.network.connected.size).toBe(1)
    await bench.boot()
    expect(bench.network.connected.size).toBe(0)
    expect(bench.states()).toEqual({})
  })

  test('what was attached stays attached', async () => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    await bench.kill()
    await bench.boot()
    expect(bench.network.count('detach')).toBe(0)
    expect(await bench.service.list(ctx())).toMatchObject([{ state: 'attached', result }])
    await bench.service.check({ key: key('a'), expected: result }, ctx())
  })

  test('what cannot be undone at once does not keep the agent from starting, and is undone later', async () => {
    const clock = new TestClock()
    await using bench = await Bench.start({ clock })
    const barrier = new Barrier()
    bench.network.afterAttach = () => barrier.pass()
    await killAt(bench, barrier, bench.service.attach(call('a', 0), ctx()))
    bench.network.before.detach = () => Promise.reject(new Error('still starting'))
    await bench.boot()
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'detaching' })
    await bench.service.attach(call('b', 1), ctx())
    bench.network.before.detach = undefined
    await clock.wake()
    await bench.service.detach({ key: key('a') }, ctx())
    expect(bench.states()).toEqual({ 'podnet/b/eth0': 'attached' })
    expect([...bench.network.connected.keys()]).toEqual(['podnet/b/eth0'])
  })

  test('an attachment of a network that is no longer served is forgotten, its VF is free', async () => {
    await using bench = await Bench.start({ networks: ['podnet'] })
    bench.journal.begin(call('a', 0, { key: key('a', 'old') }), 'port0')
    await bench.restart()
    expect(bench.states()).toEqual({})
    await bench.service.attach(call('b', 0), ctx())
  })

  test('what the network has lost is told and left to the resync; an adapter that cannot tell is no obstacle', async () => {
    const warnings: string[] = []
    const log: Logger = {
      ...silentLogger,
      warn: (fields, message) => {
        warnings.push(`${String(fields['key'] ?? fields['adapter'])}: ${message}`)
      },
      child: () => log,
    }
    await using bench = await Bench.start({ log })
    await bench.service.attach(call('a', 0), ctx())
    await bench.service.attach(call('b', 1), ctx())
    bench.network.connected.delete('podnet/b/eth0')
    await bench.restart()
    expect(warnings).toEqual(['podnet/b/eth0: attachment is missing and waits for the resync of the host'])
    bench.network.before.list = () => Promise.reject(new Error('still starting'))
    await bench.restart()
    expect(warnings.at(-1)).toBe('fake: the adapter cannot tell yet what it holds')
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached', 'podnet/b/eth0': 'attached' })
  })
})
