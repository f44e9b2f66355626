import type { AttachResult, VfAdminSettings } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { Bench, call, ctx, key, rejection } from '../support/bench.ts'

const VLAN: VfAdminSettings = { vlan: { id: 100, qos: 0, protocol: '802.1q' } }

/** Has the adapter ask for settings of the VF. */
const asking = (bench: Bench, vf: VfAdminSettings): void => {
  bench.network.afterAttach = (_id, result): AttachResult => ({ ...result, vf })
}

describe('settings of a VF that its physical function enforces', () => {
  test('can be asked for as far as the host says that it enforces them, and are remembered', async () => {
    await using bench = await Bench.start()
    asking(bench, VLAN)
    const { result } = await bench.service.attach(call('a', 0, { hostEnforces: ['vlan', 'trust'] }), ctx())
    expect(result.vf).toEqual(VLAN)
    expect(bench.network.connected.get('podnet/a/eth0')?.request?.hostEnforces).toEqual(['vlan', 'trust'])
    await bench.restart()
    expect((await bench.service.attach(call('a', 0, { hostEnforces: ['vlan', 'trust'] }), ctx())).result.vf).toEqual(VLAN)
    expect(await bench.service.list(ctx())).toMatchObject([{ result: { vf: VLAN }, request: { hostEnforces: ['vlan', 'trust'] } }])
  })

  test.each([
    ['nothing, as a host of before', {}, { trust: true }, /trust; it can enforce nothing$/],
    ['something else', { hostEnforces: ['vlan'] as const }, { ...VLAN, trust: false, minTxRate: 1 }, /rate, trust; it can enforce vlan$/],
  ])('are refused where the host enforces %s: the adapter has failed, and is detached', async (_, more, vf, message) => {
    await using bench = await Bench.start()
    asking(bench, vf)
    expect(await rejection(bench.service.attach(call('a', 0, more), ctx()))).toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringMatching(message) as string,
      hint: expect.stringContaining('hostEnforces') as string,
    })
    expect(bench.network.calls).toEqual(['attach podnet/a/eth0', 'detach podnet/a/eth0'])
    expect(bench.states()).toEqual({})
  })

  test('may be empty, which asks for nothing', async () => {
    await using bench = await Bench.start()
    asking(bench, {})
    expect((await bench.service.attach(call('a', 0), ctx())).result.vf).toEqual({})
  })

  test('are those of the running pod when it is attached again, and what goes beyond is refused without ending it', async () => {
    await using bench = await Bench.start()
    asking(bench, VLAN)
    const wired = call('a', 0, { hostEnforces: ['vlan'] })
    const { result } = await bench.service.attach(wired, ctx())
    bench.network.connected.clear()
    expect(await bench.resync([{ ...wired, had: result }])).toMatchObject([{ action: 'reattached', result: { vf: VLAN } }])
    bench.network.connected.clear()
    asking(bench, { trust: true })
    expect(await bench.resync([{ ...wired, had: result }])).toMatchObject([{ action: 'failed', error: { code: 'ADAPTER_FAILED' } }])
    expect(bench.network.count('detach')).toBe(0)
    expect(bench.states()).toEqual({ 'podnet/a/eth0': 'attached' })
  })

  test('are compared when the host checks', async () => {
    await using bench = await Bench.start()
    asking(bench, VLAN)
    const { result } = await bench.service.attach(call('a', 0, { hostEnforces: ['vlan'] }), ctx())
    await bench.service.check({ key: key('a'), expected: result }, ctx())
    const { vf: _vf, ...without } = result
    for (const expected of [without, { ...result, vf: { vlan: { ...VLAN.vlan, id: 101 } } as VfAdminSettings }])
      expect(await rejection(bench.service.check({ key: key('a'), expected }, ctx()))).toMatchObject({ code: 'CHECK_FAILED' })
  })
})
