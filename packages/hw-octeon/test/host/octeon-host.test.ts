import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type Clock, type DeviceEvent, type OpContext, silentLogger, systemClock, type VfId } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { shippedConfig } from '@cni-offload/testing/octeon'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { type FakeNode, fakeNode } from '../fake-node.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(30_000), log: silentLogger })
/** The function that all of these work on. */
const first = ({ device }: FakeNode): VfId => ({ device, index: 0 })

/** Moves a function into a pod, as the host daemon does. */
async function give(node: FakeNode, net: LinuxNet, netns: string): Promise<void> {
  const { name } = await node.host.acquire(first(node), { mtu: 1400 }, ctx())
  await net.apply(node.hostNetns, [{ op: 'link.move', dev: name, netns, name: 'eth0' }])
}

describe.skipIf(!isRoot())(`the host half of an OCTEON (${ROOT_REASON})`, { timeout: 90_000 }, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  it.each(['upstream', 'out-of-tree'] as const)(
    'brings a card up that nobody has touched since the machine booted: drivers (%s), the link, and all functions that it carries',
    async (hostDriver) => {
      await using node = await fakeNode(net, { state: 'fresh', hostDriver, vfs: 3 })
      const found = await node.host.discover(ctx())
      expect(found.map(({ pciAddress, netdev, health }) => [pciAddress, netdev, health])).toEqual([
        ['0000:01:02.0', 'enp1s0v0', 'healthy'],
        ['0000:01:02.1', 'enp1s0v1', 'healthy'],
        ['0000:01:02.2', 'enp1s0v2', 'healthy'],
      ])
      expect(await net.link(node.hostNetns, 'enp1s0')).toMatchObject({ up: true, carrier: true })
    },
  )

  it('waits for functions that come one after the other', async () => {
    await using node = await fakeNode(net, { state: 'fresh', vfs: 4, vfDelayMs: 50 })
    expect((await node.host.discover(ctx())).map(({ netdev }) => netdev)).toEqual(['enp1s0v0', 'enp1s0v1', 'enp1s0v2', 'enp1s0v3'])
  })

  it('makes as many functions as are wanted, and sets the address of the management link', async () => {
    const options = { vfs: 2, managementAddress: '192.168.77.2/24' }
    await using node = await fakeNode(net, { state: 'fresh', vfs: 4 }, { options })
    expect(await node.host.discover(ctx())).toHaveLength(2)
    expect(await net.addresses(node.hostNetns, 'enp1s0')).toEqual(['192.168.77.2/24'])
    const again = await node.newHost({ options })
    expect(await again.discover(ctx())).toHaveLength(2)
  })

  it('is brought up once by all who ask at the same time', async () => {
    await using node = await fakeNode(net, { state: 'fresh', vfs: 3, vfDelayMs: 20 })
    const written = vi.spyOn(node.card.host, 'write')
    const all = await Promise.all([node.host.discover(ctx()), node.host.discover(ctx()), node.host.release(first(node), {}, ctx())])
    expect([all[0].length, all[1].length]).toEqual([3, 3])
    expect(written.mock.calls.filter(([path]) => path.endsWith('/sriov_numvfs'))).toHaveLength(1)
  })

  it('does not take functions from pods to change their number', async () => {
    await using node = await fakeNode(net)
    await using pod = await TestNetns.create(net, 'ocp')
    await node.host.discover(ctx())
    await give(node, net, pod.path)
    const other = await node.newHost({ options: { vfs: 2 } })
    await expect(other.discover(ctx())).rejects.toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringContaining('a pod') })
    expect(await net.link(pod.path, 'eth0')).toBeDefined()
  })

  it('says that the firmware is not ready, and what to do, when no control agent runs on the card', async () => {
    await using node = await fakeNode(net, { state: 'fresh', agent: 'none' }, { options: { readyMs: 300 } })
    await expect(node.host.discover(ctx())).rejects.toMatchObject({ code: 'NOT_READY', hint: expect.stringContaining('octep_cp_agent') })
    node.card.control.runSteadily()
    expect(await node.host.discover(ctx())).not.toHaveLength(0)
  })

  it('names the card that it does not find', async () => {
    await using node = await fakeNode(net, {}, { options: { pf: '0000:05:00.0' } })
    await expect(node.host.discover(ctx())).rejects.toMatchObject({ message: expect.stringMatching(/0000:05:00\.0.*/) })
  })

  it('knows how a function was when what it had on disk is lost while a pod has it', async () => {
    await using node = await fakeNode(net)
    await using pod = await TestNetns.create(net, 'ocp')
    const [was] = await node.host.discover(ctx())
    await give(node, net, pod.path)
    await net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', mac: '02:00:00:00:00:99' }])
    const other = await node.newHost({ book: 'lost' })
    await other.discover(ctx())
    // Nobody knows where it is: it comes home by itself when its driver is bound anew, and by its note when it is found.
    await net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: node.hostNetns, name: 'stray0' }])
    await other.release(first(node), {}, ctx())
    expect(await net.link(node.hostNetns, 'enp1s0v0')).toMatchObject({ mac: was?.mac, mtu: 1500, up: false })
  })

  it('makes the interface of a function anew that went with its pod, and restores its name and addresses', async () => {
    await using node = await fakeNode(net)
    const pod = await TestNetns.create(net, 'ocp')
    const [was] = await node.host.discover(ctx())
    await give(node, net, pod.path)
    await pod[Symbol.asyncDispose]()
    await node.host.release(first(node), { netns: pod.path, ifName: 'eth0' }, ctx())
    expect(await net.link(node.hostNetns, 'enp1s0v0')).toMatchObject({ mac: was?.mac, mtu: 1500 })
    expect((await node.host.discover(ctx()))[0]).toEqual(was)
  })

  it('finds a function whose note a pod has replaced by that of another one only by what it is, and gives neither of them away twice', async () => {
    await using node = await fakeNode(net)
    await using pod = await TestNetns.create(net, 'ocp')
    await node.host.discover(ctx())
    await give(node, net, pod.path)
    const forged = (await net.link(node.hostNetns, 'enp1s0v1'))?.alias ?? ''
    await net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', alias: forged }])
    await node.host.release(first(node), { netns: pod.path, ifName: 'eth0' }, ctx())
    // On a card of before Linux 5.14, and here, the note is all that there is: the interface is made anew.
    expect((await net.links(node.hostNetns)).map(({ name }) => name).filter((name) => name.startsWith('enp1s0v'))).toHaveLength(4)
    expect((await node.host.discover(ctx())).map(({ health }) => health)).toEqual(Array(4).fill('healthy'))
  })

  it.each([
    ['unbound', async ({ card }: FakeNode) => card.host.write('/sys/bus/pci/drivers/octeon_ep_vf/unbind', '0000:01:02.0')],
    [
      'whose name a stranger has',
      async ({ hostNetns }: FakeNode) => {
        await net.apply(hostNetns, [
          { op: 'link.set', dev: 'enp1s0v0', name: 'moved0' },
          { op: 'link.add-bridge', dev: 'enp1s0v0' },
        ])
      },
    ],
  ] as const)('does not call a function healthy that is %s, and says so', async (_, harm) => {
    await using node = await fakeNode(net)
    await node.host.discover(ctx())
    await harm(node)
    const found = await node.host.discover(ctx())
    expect(found.map(({ health }) => health)).toEqual(['unhealthy', 'healthy', 'healthy', 'healthy'])
    const stop = new AbortController()
    const events: DeviceEvent[] = []
    for await (const event of node.host.watch(stop.signal)) {
      events.push(event)
      if (event.kind === 'vf-health') stop.abort()
    }
    expect(events).toEqual([
      { kind: 'device-back', device: node.device },
      { kind: 'vf-health', vf: first(node), health: 'unhealthy', reason: expect.any(String) },
    ])
  })

  it.each(['upstream', 'out-of-tree'] as const)(
    'tells when heartbeats fail to come, and brings the link back when they do (%s)',
    async (hostDriver) => {
      await using node = await fakeNode(net, { hostDriver, agent: 'none' })
      await using pod = await TestNetns.create(net, 'ocp')
      // Two missed heartbeats are enough, or this would take the twenty seconds of the shipped configuration.
      const config = { ...shippedConfig(), missCount: 2 }
      node.card.control.runSteadily(config)
      await node.host.discover(ctx())
      await give(node, net, pod.path)
      const stop = new AbortController()
      const events: DeviceEvent['kind'][] = []
      node.card.control.agentEnded()
      for await (const { kind } of node.host.watch(stop.signal)) {
        events.push(kind)
        if (kind === 'device-lost') {
          expect((await node.host.discover(ctx())).map(({ health }) => health)).toEqual(Array(4).fill('unhealthy'))
          node.card.control.runSteadily(config)
        }
        if (kind === 'device-back' && events.includes('device-lost')) stop.abort()
      }
      expect(events).toEqual(['device-back', 'device-lost', 'device-back'])
      expect(await net.link(pod.path, 'eth0'), 'the pod has kept its function').toBeDefined()
    },
  )

  it('makes its functions again when somebody has loaded the drivers anew', async () => {
    await using node = await fakeNode(net)
    await node.host.discover(ctx())
    const signal = AbortSignal.timeout(30_000)
    for (const argv of [
      ['modprobe', '-r', 'octeon_ep_vf'],
      ['modprobe', '-r', 'octeon_ep'],
      ['modprobe', 'octeon_ep'],
      ['modprobe', 'octeon_ep_vf'],
    ] as const)
      expect(await node.card.host.run(argv, signal)).toMatchObject({ exitCode: 0 })
    const stop = new AbortController()
    const events: DeviceEvent['kind'][] = []
    for await (const { kind } of node.host.watch(stop.signal)) {
      events.push(kind)
      if (kind === 'device-back') stop.abort()
    }
    expect(events).toEqual(['device-lost', 'device-back'])
    expect((await node.host.discover(ctx())).map(({ health }) => health)).toEqual(Array(4).fill('healthy'))
  })

  it('does not take a function from a program or a virtual machine', async () => {
    await using node = await fakeNode(net)
    const [was] = await node.host.discover(ctx())
    const { undo } = await node.card.bindVfio(0)
    const written = vi.spyOn(node.card.host, 'write')
    await node.host.release(first(node), {}, ctx())
    await expect(node.host.acquire(first(node), {}, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('has no interface: its driver leaves it to programs'),
    })
    expect(written.mock.calls).toEqual([])
    expect(await node.card.host.readlink('/sys/bus/pci/devices/0000:01:02.0/driver')).toMatch(/vfio-pci$/)
    await undo()
    expect((await node.host.discover(ctx()))[0]).toEqual(was)
    await node.host.acquire(first(node), {}, ctx())
  })

  it('calls a function healthy that programs may have, and tells what has changed', async () => {
    await using node = await fakeNode(net)
    const [was] = await node.host.discover(ctx())
    const events: DeviceEvent[] = []
    const stop = new AbortController()
    const heard = (async () => {
      for await (const event of node.host.watch(stop.signal)) {
        events.push(event)
        if (events.length === 1) await node.card.bindVfio(0)
        if (events.filter(({ kind }) => kind === 'device-back').length === 2) stop.abort()
      }
    })()
    await heard
    const [now, ...others] = await node.host.discover(ctx())
    const { netdev: _none, ...rest } = was!
    expect(now).toEqual({ ...rest, userspace: 'vfio-pci' })
    expect(others.map(({ userspace }) => userspace)).toEqual([undefined, undefined, undefined])
    expect(events.filter(({ kind }) => kind !== 'vf-health')).toEqual([
      { kind: 'device-back', device: node.device },
      { kind: 'device-back', device: node.device },
    ])
    // In between it has no driver for a moment, which may be seen.
    expect(events.filter((event) => event.kind === 'vf-health').at(-1)?.health ?? 'healthy').toBe('healthy')
  })

  it('has the MAC of a function that nobody has seen from its physical one, brings back what that makes of it, and keeps their number', async () => {
    const vfAdmin = { mac: 'does', vlan: 'does', spoofCheck: 'does' } as const
    await using node = await fakeNode(net, { vfAdmin })
    await node.card.bindVfio(0)
    const mac = '02:00:00:00:00:77'
    const [found] = await node.host.discover(ctx())
    expect(found).toMatchObject({ userspace: 'vfio-pci', health: 'healthy' })
    const pf = 'enp1s0'
    const hostNet = node.card.hostNet(net)
    await hostNet.apply(node.hostNetns, [{ op: 'vf.set', dev: pf, vf: 0, settings: { mac } }])
    expect((await node.host.discover(ctx()))[0]?.mac).toBe(mac)
    const before = await hostNet.vfs(node.hostNetns, pf)
    await node.host.configure(first(node), { spoofCheck: true, vlan: { id: 7, qos: 0, protocol: '802.1q' } }, ctx())
    expect(await node.host.deviations(first(node), { vlan: { id: 7, qos: 0, protocol: '802.1q' } }, ctx())).toEqual([])
    await node.host.release(first(node), {}, ctx())
    expect(await hostNet.vfs(node.hostNetns, pf)).toEqual(before)
    const other = await node.newHost({ options: { vfs: 2 } })
    await expect(other.discover(ctx())).rejects.toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringContaining('a program') })
  })

  it.each([
    ['while all functions are at home', false],
    ['and not while a pod has a function', true],
  ] as const)('loads the drivers anew when nothing else brings the link back, if that is allowed, %s', async (_, inPod) => {
    const lost = { rounds: 0, is: false }
    const clock: Clock = {
      ...systemClock,
      // The first pause after the loss takes more than the minute that it has to last.
      monotonic: () => systemClock.monotonic() + (lost.rounds > 1 ? 61_000 : 0),
      sleep: async (ms, signal) => {
        if (lost.is) lost.rounds += 1
        // Then it comes back by itself, which is what there is to wait for where nothing else may be done.
        if (inPod && lost.rounds === 4) node.card.control.runSteadily(config)
        await systemClock.sleep(ms, signal)
      },
    }
    const config = { ...shippedConfig(), missCount: 2 }
    await using node: FakeNode = await fakeNode(net, { agent: 'none' }, { mayReload: true, clock })
    await using pod = await TestNetns.create(net, 'ocp')
    node.card.control.runSteadily(config)
    await node.host.discover(ctx())
    if (inPod) await give(node, net, pod.path)
    const removed: string[] = []
    const { run } = node.card.host
    vi.spyOn(node.card.host, 'run').mockImplementation(async (argv, signal) => {
      if (argv[1] === '-r') {
        removed.push(argv.join(' '))
        node.card.control.runSteadily(config)
      }
      return await run.call(node.card.host, argv, signal)
    })
    node.card.control.agentEnded()
    const stop = new AbortController()
    for await (const { kind } of node.host.watch(stop.signal)) {
      if (kind === 'device-lost') lost.is = true
      if (kind === 'device-back' && lost.is) stop.abort()
    }
    expect(removed).toEqual(inPod ? [] : ['modprobe -r octeon_ep_vf', 'modprobe -r octeon_ep'])
    expect((await node.host.discover(ctx())).map(({ health }) => health)).toEqual(Array(4).fill('healthy'))
    expect((await net.link(pod.path, 'eth0')) !== undefined).toBe(inPod)
  })
})
