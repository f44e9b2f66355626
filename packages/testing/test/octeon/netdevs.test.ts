import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isRoot, ping, ROOT_REASON, TestNetns, uniqueName } from '../../src/index.ts'
import { FakeOcteonCard, type FakeOcteonCardOptions, shippedConfig } from '../../src/octeon/index.ts'

const PF = '/sys/bus/pci/devices/0000:01:00.0'
const VF3 = '/sys/bus/pci/devices/0000:01:02.3'
const PORT4 = '/sys/bus/pci/devices/0002:01:00.5'

describe.skipIf(!isRoot())(`interfaces of a fake card (${ROOT_REASON})`, { timeout: 120_000 }, () => {
  let net: LinuxNet
  beforeAll(() => void (net = createLinuxNet()))
  afterAll(() => net[Symbol.asyncDispose]())

  const plugged = async (
    options: FakeOcteonCardOptions = {},
  ): Promise<AsyncDisposable & { readonly card: FakeOcteonCard; readonly host: TestNetns; readonly dpu: TestNetns }> => {
    await using stack = new AsyncDisposableStack()
    const host = stack.use(await TestNetns.create(net, 'oh'))
    const dpu = stack.use(await TestNetns.create(net, 'od'))
    const card = stack.use(await FakeOcteonCard.create({ ...options, net, hostNetns: host.path, dpuNetns: dpu.path }))
    const owned = stack.move()
    return { card, host, dpu, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  it('carry frames between the ends of the same function, and of no other', async () => {
    await using bench = await plugged({ vfs: 4 })
    const { host, dpu } = bench
    const give = async (netns: TestNetns, dev: string, address: string): Promise<void> =>
      await net.apply(netns.path, [
        { op: 'link.set', dev, up: true },
        { op: 'addr.add', dev, address },
      ])
    await give(host, 'enp1s0v3', '192.0.2.1/30')
    await give(dpu, 'enP2p1s0v4', '192.0.2.2/30')
    await give(host, 'enp1s0v2', '192.0.2.5/30')
    expect((await ping(host.path, '192.0.2.2', { count: 2 })).received).toBe(2)
    expect((await ping(host.path, '192.0.2.6', { count: 1, waitMs: 1_000 })).received).toBe(0)
  })
  it('lie under their function wherever they are called what, unless they are in a pod', async () => {
    await using bench = await plugged()
    await using pod = await TestNetns.create(net, 'op')
    const { card, host } = bench
    const note = 'cni-offload vf=octeon0/3 pci=0000:01:02.3 name=enp1s0v3 mac=00:00:00:04:01:01 mtu=1500'
    await net.apply(host.path, [{ op: 'link.set', dev: 'enp1s0v3', name: 'temp_7', alias: note, mac: '02:00:00:00:00:07' }])
    expect(await card.host.list(`${VF3}/net`)).toEqual(['temp_7'])
    expect(await card.host.read(`${VF3}/net/temp_7/address`)).toBe('02:00:00:00:00:07\n')
    expect(await card.host.readlink('/sys/class/net/temp_7')).toBe('../../devices/pci0000:00/0000:00:01.0/0000:01:02.3/net/temp_7')
    await net.apply(host.path, [{ op: 'link.move', dev: 'temp_7', netns: pod.path, name: 'eth0' }])
    expect(await card.host.list(`${VF3}/net`)).toEqual([])
    expect(await card.host.list(VF3)).toContain('driver')

    // The kernel removes it from the pod, and makes another where the machine is.
    await card.host.write(`${VF3}/driver/unbind`, '0000:01:02.3')
    expect(await net.link(pod.path, 'eth0')).toBeUndefined()
    await expect(card.host.list(`${VF3}/net`)).rejects.toMatchObject({ code: 'ENOENT' })
    await card.host.write('/sys/bus/pci/drivers/octeon_ep_vf/bind', '0000:01:02.3')
    expect(await net.link(host.path, 'enp1s0v3')).toMatchObject({ mac: '00:00:00:04:01:01', alias: 'pci=0000:01:02.3', up: false })
  })

  it('of the DPU outlive those of the host', async () => {
    await using bench = await plugged()
    const { card, host, dpu } = bench
    const before = await net.link(dpu.path, 'enP2p1s0v4')
    expect(before?.alias).toBe('pci=0002:01:00.5')
    await net.apply(dpu.path, [{ op: 'link.set', dev: 'enP2p1s0v4', name: 'renamed', up: true }])
    expect(await card.dpu.list(`${PORT4}/net`)).toEqual(['renamed'])
    await card.host.write(`${PF}/sriov_numvfs`, '0')
    expect((await net.links(host.path)).filter(({ name }) => name.startsWith('enp1s0v'))).toEqual([])
    await card.host.write(`${PF}/sriov_numvfs`, '8')
    expect(await net.link(dpu.path, 'renamed')).toMatchObject({ mac: before?.mac, alias: before?.alias, index: before?.index })
    await net.apply(host.path, [
      { op: 'link.set', dev: 'enp1s0v3', up: true },
      { op: 'addr.add', dev: 'enp1s0v3', address: '192.0.2.1/30' },
    ])
    await net.apply(dpu.path, [{ op: 'addr.add', dev: 'renamed', address: '192.0.2.2/30' }])
    expect((await ping(host.path, '192.0.2.2', { count: 1 })).received).toBe(1)
  })

  it('have carrier whatever the other end does, and leave nothing behind', async () => {
    const siliconName = uniqueName('octeon')
    await using host = await TestNetns.create(net, 'oh')
    await using dpu = await TestNetns.create(net, 'od')
    {
      await using card = await FakeOcteonCard.create({ net, hostNetns: host.path, dpuNetns: dpu.path, siliconName })
      await net.apply(host.path, [{ op: 'link.set', dev: 'enp1s0v0', up: true }])
      expect(await net.link(host.path, 'enp1s0v0')).toMatchObject({ up: true, carrier: true })
      expect(await net.link(dpu.path, 'enP2p1s0v1')).toMatchObject({ up: false })
      expect(await card.host.read(`${PF}/net/enp1s0/carrier`)).toBe('1\n')
      await expect(card.host.read(`${VF3}/net/enp1s0v3/carrier`)).rejects.toMatchObject({ code: 'EINVAL' })
      const { stdout } = await card.host.run(['ip', '-br', 'link', 'show', 'enp1s0'], AbortSignal.timeout(60_000))
      expect(stdout).toContain('enp1s0')
    }
    expect((await net.links(host.path)).map(({ name }) => name)).toEqual(['lo'])
    expect((await net.links(dpu.path)).map(({ name }) => name)).toEqual(['lo'])
    expect(await net.netnsIdentity(`/run/netns/${siliconName}`)).toBeUndefined()
  })
  it('fall back to their machine when the namespace of a pod ends', async () => {
    await using bench = await plugged()
    const { card, host, dpu } = bench
    const pod = await TestNetns.create(net, 'op')
    await net.apply(host.path, [{ op: 'link.move', dev: 'enp1s0v3', netns: pod.path, name: 'eth0' }])
    expect(await card.host.list(`${VF3}/net`)).toEqual([])
    await pod[Symbol.asyncDispose]()
    await expect.poll(() => card.host.list(`${VF3}/net`), { timeout: 60_000 }).toEqual(['enp1s0v3'])
    await net.apply(host.path, [
      { op: 'link.set', dev: 'enp1s0v3', up: true },
      { op: 'addr.add', dev: 'enp1s0v3', address: '192.0.2.1/30' },
    ])
    await net.apply(dpu.path, [
      { op: 'link.set', dev: 'enP2p1s0v4', up: true },
      { op: 'addr.add', dev: 'enP2p1s0v4', address: '192.0.2.2/30' },
    ])
    expect((await ping(host.path, '192.0.2.2', { count: 1 })).received).toBe(1)
  })

  it('take the place of those that a killed process has left', async () => {
    await using host = await TestNetns.create(net, 'oh')
    await using dpu = await TestNetns.create(net, 'od')
    const siliconName = uniqueName('octeon')
    const inside = await net.createNetns(siliconName)
    await net.apply(inside, [{ op: 'link.add-veth', dev: 'h-sdp0', peer: { name: 'enp1s0', netns: host.path, alias: 'pci=0000:01:00.0' } }])
    await using card = await FakeOcteonCard.create({ net, hostNetns: host.path, dpuNetns: dpu.path, siliconName })
    expect(await card.host.list(`${PF}/net`)).toEqual(['enp1s0'])
    expect((await net.links(host.path)).filter(({ alias }) => alias === 'pci=0000:01:00.0')).toHaveLength(1)
  })
  it('lose the carrier with the heartbeats, without the other end, and get it back when they are opened anew', async () => {
    await using bench = await plugged({ hostDriver: 'out-of-tree', agent: 'none' })
    const { card, host, dpu } = bench
    const config = { ...shippedConfig(), heartbeatMs: 20, missCount: 2 }
    const poll = { timeout: 60_000 }
    card.control.runSteadily(config)
    await card.host.run(['modprobe', 'octeon_ep'], AbortSignal.timeout(60_000))
    await net.apply(host.path, [{ op: 'link.set', dev: 'enp1s0', up: true }])
    await net.apply(dpu.path, [{ op: 'link.set', dev: 'enP2p1s0v0', up: true }])
    card.control.agentEnded()
    await expect.poll(() => net.link(host.path, 'enp1s0'), poll).toMatchObject({ up: true, carrier: false })
    expect(await net.link(dpu.path, 'enP2p1s0v0')).toMatchObject({ up: true, carrier: true })
    card.control.runSteadily(config)
    // The driver hears of closing and opening at once; the fake looks now and then.
    let up = true
    const toggled = async (): Promise<unknown> => {
      up = !up
      await net.apply(host.path, [{ op: 'link.set', dev: 'enp1s0', up }])
      return await net.link(host.path, 'enp1s0')
    }
    await expect.poll(toggled, { ...poll, interval: 200 }).toMatchObject({ up: true, carrier: true })
  })
})
