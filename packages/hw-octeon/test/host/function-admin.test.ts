import { createLinuxNet, type VfAdmin } from '@cni-offload/linux'
import { type Logger, type OpContext, silentLogger, type VfAdminSettings, type VfId } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import type { VfAdminBehaviour } from '@cni-offload/testing/octeon'
import { afterAll, describe, expect, it } from 'vitest'
import { type FakeNode, fakeNode } from '../fake-node.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(30_000), log: silentLogger })
const ALL: VfAdminBehaviour = { vlan: 'does', rate: 'does', spoofCheck: 'does', trust: 'does', linkState: 'does' }
const WANTED: VfAdminSettings = {
  vlan: { id: 100, qos: 3, protocol: '802.1ad' },
  minTxRate: 10,
  maxTxRate: 100,
  spoofCheck: false,
  trust: true,
  linkState: 'enable',
}
const vf = ({ device }: FakeNode, index: number): VfId => ({ device, index })
const has = ({ card }: FakeNode, index = 0): VfAdmin => card.vfAdmin.vfs()[index]!

describe.skipIf(!isRoot())(`settings of the functions of an OCTEON (${ROOT_REASON})`, { timeout: 120_000 }, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  it.each([
    ['the driver of Linux, which knows none', {}, undefined],
    ['the driver out of the tree, which says that all are done', { hostDriver: 'out-of-tree' as const }, undefined],
    ['a driver that does all', { vfAdmin: ALL }, ['vlan', 'rate', 'spoofCheck', 'trust', 'linkState']],
    [
      'a driver that does some',
      { vfAdmin: { ...ALL, vlan: 'pretends' as const, trust: 'refuses' as const } },
      ['rate', 'spoofCheck', 'linkState'],
    ],
    ['a driver that sets MAC addresses, which nobody could take back', { vfAdmin: { mac: 'does' as const } }, undefined],
  ])('are offered as far as they are really made: %s', async (_, card, admin) => {
    const errors: string[] = []
    const log: Logger = { ...silentLogger, error: (_fields, message) => void errors.push(message) }
    await using node = await fakeNode(net, { vfs: 2, ...card }, { log })
    const before = node.card.vfAdmin.vfs()
    for (const { capabilities } of await node.host.discover(ctx())) expect(capabilities.admin).toEqual(admin)
    expect(node.card.vfAdmin.vfs(), 'trying has changed nothing').toEqual(before)
    expect(errors, 'that a driver cannot do it is no error').toEqual([])
    await expect(node.host.configure(vf(node, 0), { mac: '02:00:00:00:00:42' }, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringMatching(/does not make mac; it makes/) as string,
    })
  })

  it('are tried on a function that nobody uses, and where there is none, what was seen before counts', async () => {
    await using node = await fakeNode(net, { vfs: 2, vfAdmin: ALL })
    await using pod = await TestNetns.create(net, 'oca')
    await node.host.discover(ctx())
    await net.apply(node.hostNetns, [{ op: 'link.set', dev: 'enp1s0v0', up: true }])
    const { name } = await node.host.acquire(vf(node, 1), {}, ctx())
    await net.apply(node.hostNetns, [{ op: 'link.move', dev: name, netns: pod.path, name: 'eth0' }])
    let asked = 0
    const other = await node.newHost({ step: () => void (asked += 1) })
    const [found] = await other.discover(ctx())
    expect(found?.capabilities.admin).toHaveLength(5)
    expect(asked).toBeGreaterThan(0)
    const lost = await node.newHost({ book: 'lost' })
    expect((await lost.discover(ctx()))[0]?.capabilities).not.toHaveProperty('admin')
  })

  it('come, are told when they drift, come again, and go with the pod: to what they were before, which is not what they are at first', async () => {
    await using node = await fakeNode(net, { vfs: 2, vfAdmin: ALL })
    await using pod = await TestNetns.create(net, 'oca')
    await node.host.discover(ctx())
    // Somebody has a use for that.
    node.card.vfAdmin.set(0, { vlan: { id: 7, qos: 0, protocol: '802.1q' }, maxTxRate: 500 })
    const [before, other] = [has(node), has(node, 1)]
    const { name } = await node.host.acquire(vf(node, 0), {}, ctx())
    await net.apply(node.hostNetns, [{ op: 'link.move', dev: name, netns: pod.path, name: 'eth0' }])
    expect(await node.host.deviations(vf(node, 0), { trust: true, maxTxRate: 500 }, ctx())).toEqual(['trust is false instead of true'])
    await node.host.configure(vf(node, 0), WANTED, ctx())
    expect(has(node)).toEqual({ ...before, ...WANTED })
    expect(await node.host.deviations(vf(node, 0), WANTED, ctx())).toEqual([])
    node.card.vfAdmin.set(0, { trust: false })
    await node.host.configure(vf(node, 0), WANTED, ctx())
    expect(has(node)).toEqual({ ...before, ...WANTED })
    expect(has(node, 1)).toEqual(other)
    await node.host.release(vf(node, 0), { netns: pod.path, ifName: 'eth0' }, ctx())
    expect(has(node)).toEqual(before)
  })

  it('are refused one by one, by name, and what a driver only says is not believed', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    await node.host.discover(ctx())
    const before = has(node)
    // Its firmware has been exchanged, perhaps.
    node.card.vfAdmin.behaviour = { ...ALL, vlan: 'pretends', trust: 'refuses' }
    await expect(node.host.configure(vf(node, 0), WANTED, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringMatching(/vlan: its driver says that it is done, and it is not; trust: .*EOPNOTSUPP/) as string,
    })
    await node.host.release(vf(node, 0), {}, ctx())
    expect(has(node)).toEqual(before)
  })

  it('that do not come back keep a function from being released', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    await node.host.configure(vf(node, 0), { trust: true }, ctx())
    node.card.vfAdmin.behaviour = { ...ALL, trust: 'pretends' }
    await expect(node.host.release(vf(node, 0), {}, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('trust: its driver says') as string,
    })
    node.card.vfAdmin.behaviour = ALL
    await node.host.release(vf(node, 0), {}, ctx())
    expect(has(node).trust).toBe(false)
  })

  it('of several functions at the same time are all remembered', async () => {
    await using node = await fakeNode(net, { vfs: 4, vfAdmin: ALL })
    await node.host.discover(ctx())
    const before = node.card.vfAdmin.vfs()
    await Promise.all(node.vfs.map((each) => node.host.configure(each, WANTED, ctx())))
    const other = await node.newHost()
    await Promise.all(node.vfs.map((each) => other.release(each, {}, ctx())))
    expect(node.card.vfAdmin.vfs()).toEqual(before)
  })

  it('cost nothing where nothing was asked for', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    await node.host.discover(ctx())
    node.card.vfAdmin.vfs = () => {
      throw new Error('nobody needs to ask')
    }
    await node.host.acquire(vf(node, 0), {}, ctx())
    await node.host.release(vf(node, 0), {}, ctx())
  })

  /** Runs something in a daemon that is killed before its nth step, for each n, until it is done without that. */
  const killedAtEachStep = async (
    node: FakeNode,
    work: (host: FakeNode['host']) => Promise<unknown>,
    after: (host: FakeNode['host']) => Promise<void>,
    before: (host: FakeNode['host']) => Promise<unknown> = async () => {},
  ): Promise<number> => {
    for (let last = 0; ; last += 1) {
      let [steps, killed] = [0, false]
      const step = (): void => {
        killed ||= steps++ >= last
        if (killed) throw new Error('killed')
      }
      await before(await node.newHost())
      await work(await node.newHost({ step })).catch(() => {})
      await after(await node.newHost())
      if (!killed) return last
    }
  }

  it('come back after the daemon was killed at any step of setting them', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    await node.host.discover(ctx())
    const before = has(node)
    const steps = await killedAtEachStep(
      node,
      (host) => host.configure(vf(node, 0), WANTED, ctx()),
      async (host) => {
        await host.release(vf(node, 0), {}, ctx())
        expect(has(node)).toEqual(before)
      },
    )
    expect(steps).toBeGreaterThan(10)
  })

  it('come back after the daemon was killed at any step of bringing them back', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    await node.host.discover(ctx())
    const before = has(node)
    const steps = await killedAtEachStep(
      node,
      (host) => host.release(vf(node, 0), {}, ctx()),
      async (host) => {
        await host.release(vf(node, 0), {}, ctx())
        expect(has(node)).toEqual(before)
      },
      (host) => host.configure(vf(node, 0), WANTED, ctx()),
    )
    expect(steps).toBeGreaterThan(10)
  })

  it('are as before for the next pod after the daemon was killed at any step of trying them', async () => {
    await using node = await fakeNode(net, { vfs: 1, vfAdmin: ALL })
    const before = has(node)
    const steps = await killedAtEachStep(
      node,
      (host) => host.discover(ctx()),
      async (host) => {
        await host.acquire(vf(node, 0), {}, ctx())
        expect(has(node)).toEqual(before)
      },
    )
    expect(steps).toBeGreaterThan(20)
  })
})
