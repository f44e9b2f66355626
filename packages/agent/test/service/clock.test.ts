import { type Clock, systemClock } from '@cni-offload/sdk'
import { expect, test } from 'vitest'
import { Bench, call, ctx, key, rejection } from '../support/bench.ts'

const DAY = 86_400_000

test.each([DAY, -DAY, 3652 * DAY, -3652 * DAY])('a wall clock that jumps by %d ms loses, delays and ends nothing', async (jump) => {
  let offset = 0
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + offset }
  await using bench = await Bench.start({ clock, limits: { retryFirstMs: 1, retryMaxMs: 1 } })
  await bench.service.attach(call('a', 0), ctx())
  await bench.service.attach(call('b', 1), ctx())
  bench.network.before.detach = () => Promise.reject(new Error('not now'))
  expect(await rejection(bench.service.detach({ key: key('b') }, ctx()))).toMatchObject({ code: 'ADAPTER_FAILED' })
  offset += jump
  bench.network.before.detach = undefined
  await expect.poll(() => bench.states(), { timeout: 10_000 }).toEqual({ 'podnet/a/eth0': 'attached' })
  await bench.restart()
  offset -= jump
  expect(await bench.resync([call('a', 0)])).toMatchObject([{ action: 'kept' }])
  await bench.service.attach(call('c', 2), ctx())
  expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached', 'podnet/c/eth0': 'attached' })
})
