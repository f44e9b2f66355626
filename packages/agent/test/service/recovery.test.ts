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

  test.each(['before', 'after'] as const)('%s the effect of attaching a running pod again, the pod keeps what it has', async (when) => {
    await using bench = await Bench.start()
    const { result } = await bench.service.attach(call('a', 0), ctx())
    bench.forget('a')
    const barrier = new Barrier()
    if (when === 'before') bench.network.before.attach = () => barrier.pass()
    else bench.network.afterAttach = () => barrier.pass()
    await killAt(
      bench,
      barrier,
      bench.resync([call('a', 0, { had: result })]).then(() => Promise.reject(new Error('it ended'))),
    )
    await bench.boot()
    expect(bench.network.count('detach')).toBe(0)
    expect(bench.states()).toEqual({})
    // The network has lost its state, and gives what the pod has as if it were free.
    bench.network.afterAttach = () => result
    expect(await rejection(bench.service.attach(call('b', 1), ctx()))).toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    bench.network.afterAttach = undefined
    expect(await bench.resync([call('a', 0, { had: result })])).toMatchObject([{ action: 'reattached', result }])
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
    expect(bench.journal.get(key('a'))?.request).toEqual(call('a', 0))
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

  describe('a network that is not served any more while its pods run', () => {
    const old = call('a', 0, { key: key('a', 'old') })

    test('keeps its attachments until it is served again; then they end, also without being asked again', async () => {
      const told: unknown[] = []
      const log: Logger = { ...silentLogger, error: (fields) => void told.push(fields['network']), child: () => log }
      await using bench = await Bench.start({ networks: ['podnet', 'old'], log })
      await bench.service.attach(old, ctx())
      await bench.restart({ networks: ['podnet'] })
      expect(told).toEqual(['old'])
      expect(await rejection(bench.service.detach({ key: old.key }, ctx()))).toMatchObject({
        code: 'NOT_READY',
        message: 'the adapter old/fake that made attachment old/a/eth0 is not configured any more, and no other one knows of it',
        hint: expect.stringContaining('"forget"'),
      })
      expect(bench.states()).toEqual({ 'old/a/eth0': 'detaching' })
      expect(await rejection(bench.service.attach(call('b', 0), ctx())), 'the VF is not free').toMatchObject({ code: 'ALREADY_EXISTS' })
      expect(bench.network.connected.size).toBe(1)
      await bench.restart({ networks: ['podnet', 'old'] })
      expect(bench.states()).toEqual({})
      expect(bench.network.connected.size).toBe(0)
      await bench.service.detach({ key: old.key }, ctx())
      await bench.service.attach(call('b', 0), ctx())
    })

    test('is forgotten where the configuration says so', async () => {
      await using bench = await Bench.start({ networks: ['podnet', 'old'] })
      await bench.service.attach(old, ctx())
      await bench.restart({ networks: ['podnet'], forget: ['old'] })
      expect(bench.states(), 'not before its pod is gone').toEqual({ 'old/a/eth0': 'attached' })
      await bench.service.detach({ key: old.key }, ctx())
      expect(bench.states()).toEqual({})
      expect(bench.network.count('detach')).toBe(0)
      // What the operator has to do by hand.
      bench.network.connected.clear()
      await bench.service.attach(call('b', 0), ctx())
    })

    test('does not keep a failed ADD from being undone', async () => {
      await using bench = await Bench.start({ networks: ['podnet'] })
      expect(await rejection(bench.service.attach(old, ctx()))).toMatchObject({ code: 'INVALID_NETCONF' })
      await bench.service.detach({ key: old.key }, ctx())
    })
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
