import { createLinuxNet, type LinuxNet, PRISTINE_TRAITS } from '@cni-offload/linux'
import { type DeviceEvent, type OpContext, silentLogger, systemClock } from '@cni-offload/sdk'
import { exec, inNetns, isRoot, ping, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { SoftHost, softHost } from '../src/index.ts'
import { softCard } from './soft-card.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(20_000), log: silentLogger })
const vf = { device: 'soft0', index: 0 }

describe('options of the host half', () => {
  it('have defaults that fit a card with defaults', () => {
    expect(softHost.definition.options.parse({})).toMatchObject({ device: 'soft0', vfs: 8, mtu: 1500, netns: '/proc/self/ns/net' })
  })

  it.each([
    { device: 'toolongname' },
    { device: 'Soft0' },
    { vfs: 0 },
    { vfs: 1025 },
    { mtu: 1000 },
    { pciBus: '0000:f0' },
    { pciBus: '00:00' },
    { mtu: 9000, maxMtu: 1500 },
    { maxMtu: 1000 },
    { dpuNetns: 'dpu' },
  ])('refuse %o', (options) => {
    expect(() => softHost(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(Object.keys(options)[0] ?? '') }),
    )
  })

  it('refuse what they do not know', () => {
    expect(() => softHost({ vf: 3 } as object)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
  })
})

describe.skipIf(!isRoot())(`the host half of the software card (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  const events = async (watching: AsyncIterable<DeviceEvent>): Promise<DeviceEvent[]> => Array.fromAsync(watching)

  it('works as a plugin, and gives up its thread when it is disposed', async () => {
    await using soft = await softCard(net, 2)
    const host = await softHost({ vfs: 2, node: soft.card.node, netns: soft.hostNetns.path }).create({
      log: silentLogger,
      clock: systemClock,
      stateDir: '/nonexistent',
    })
    expect((await host.discover(ctx())).map(({ netdev }) => netdev)).toEqual(['soft0v0', 'soft0v1'])
    await host[Symbol.asyncDispose]?.()
    await expect(host.discover(ctx())).rejects.toThrow()
  })

  it('says which function is missing and what to do, when no card is plugged in', async () => {
    await using soft = await softCard(net, 1)
    await soft.unplug()
    await expect(soft.host.acquire(vf, {}, ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('soft0v0'),
      hint: expect.stringContaining('plug'),
    })
  })

  it('does not take a card of another node for its own', async () => {
    await using soft = await softCard(net, 1)
    await net.apply(soft.hostNetns.path, [
      { op: 'link.set', dev: 'soft0v0', alias: 'cni-offload vf=soft0/0 name=soft0v0 mac=02:00:00:00:00:01 mtu=1500' },
    ])
    await expect(soft.host.acquire(vf, {}, ctx())).rejects.toMatchObject({ code: 'HARDWARE_FAILURE' })
    expect(await soft.host.discover(ctx())).toMatchObject([{ health: 'unhealthy' }])
  })

  it('does not think a function healthy whose name is an alternative name of a stranger', async () => {
    await using soft = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    await net.apply(soft.hostNetns.path, [
      { op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' },
      { op: 'link.add-bridge', dev: 'br0' },
    ])
    expect(await soft.host.discover(ctx())).toMatchObject([{ health: 'healthy' }])
    await soft.hostNetns.output(['ip', 'link', 'property', 'add', 'dev', 'br0', 'altname', 'soft0v0'])
    expect(await soft.host.discover(ctx())).toMatchObject([{ health: 'unhealthy' }])
  })

  it('makes a function anew that a daemon was just plugging in when it was killed, and does not think it unhealthy', async () => {
    await using soft = await softCard(net, 1)
    const host = soft.newHost({ dpuNetns: soft.dpuNetns.path })
    const [before, port] = [await net.link(soft.hostNetns.path, 'soft0v0'), await net.link(soft.dpuNetns.path, 'soft0p0')]
    await net.apply(soft.hostNetns.path, [{ op: 'link.set', dev: 'soft0v0', alias: '' }])
    await net.apply(soft.dpuNetns.path, [{ op: 'link.set', dev: 'soft0p0', alias: '' }])
    expect(await host.discover(ctx())).toMatchObject([{ health: 'healthy' }])
    await host.release(vf, {}, ctx())
    expect((await net.link(soft.hostNetns.path, 'soft0v0'))?.alias).toBe(before?.alias)
    expect((await net.link(soft.dpuNetns.path, 'soft0p0'))?.alias).toBe(port?.alias)
    expect(await host.acquire(vf, {}, ctx())).toMatchObject({ name: 'soft0v0' })
  })

  it('finds a function that a pod renamed and gave as many alternative names as the kernel takes', async () => {
    await using soft = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'mine' }])
    const commands = Array.from({ length: 500 }, (_, n) => `link property add dev mine altname ${String(n).padStart(127, 'n')}\n`)
    await pod.exec(['ip', '-force', '-batch', '-'], { input: commands.join('') })
    expect((await net.link(pod.path, 'mine'))?.altNames.length).toBeGreaterThan(400)
    await soft.host.release(vf, { netns: pod.path, ifName: 'eth0' }, ctx())
    expect(await net.link(soft.hostNetns.path, 'soft0v0')).toMatchObject({ up: false, altNames: [], traits: PRISTINE_TRAITS })
  })

  it('needs one request to release a function whose pod changed everything that the kernel keeps over a move', async () => {
    await using soft = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    const asked: unknown[] = []
    const counting = new Proxy(net, {
      get: (target, name: keyof LinuxNet) => {
        const member = target[name].bind(target) as (...args: unknown[]) => unknown
        return (...args: unknown[]) => {
          if (name !== 'netnsIdentity') asked.push(name)
          return member(...args)
        }
      },
    })
    const host = new SoftHost({ net: counting, clock: systemClock, card: soft.card, netns: soft.hostNetns.path })
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' }])
    const traits = { arp: false, multicast: false, promiscuous: true, allMulticast: true, linkMode: 1, txQueueLength: 1, group: 9 }
    await net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', traits }])
    await pod.output(['ip', 'link', 'property', 'add', 'dev', 'eth0', 'altname', 'soft0v0'])
    await host.release(vf, { netns: pod.path, ifName: 'eth0' }, ctx())
    expect(asked).toEqual(['apply'])
    expect(await net.link(soft.hostNetns.path, 'soft0v0')).toMatchObject({ up: false, altNames: [], traits: PRISTINE_TRAITS })
  })

  it('finds a function that a pod handed on to another named namespace', async () => {
    await using soft = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    await using elsewhere = await TestNetns.create(net, 'swp')
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: elsewhere.path, name: 'hidden' }])
    await soft.host.release(vf, { netns: pod.path, ifName: 'eth0' }, ctx())
    expect(await net.link(soft.hostNetns.path, 'soft0v0')).toMatchObject({ up: false })
  })

  it('accepts another path of its own namespace', async () => {
    await using soft = await softCard(net, 1)
    const from = { netns: soft.hostNetns.path.replace('/run/', '/var/run/'), ifName: 'eth0' }
    for (const name of ['eth0', 'soft0v0']) {
      await net.apply(soft.hostNetns.path, [
        { op: 'link.set', dev: 'soft0v0', name },
        { op: 'addr.add', dev: name, address: '192.0.2.1/24' },
        { op: 'link.set', dev: name, up: true },
      ])
      await soft.host.release(vf, from, ctx())
      expect(await net.link(soft.hostNetns.path, 'soft0v0')).toMatchObject({ up: false })
      expect(await net.addresses(soft.hostNetns.path, 'soft0v0')).toEqual([])
    }
  })

  it('refuses to make a second pair while the first is alive in a namespace without a name', async () => {
    await using soft = await softCard(net, 1)
    await using pod = await TestNetns.create(net, 'swp')
    const gone = new AbortController()
    // A process that outlives its sandbox keeps the namespace alive when its name is gone.
    const keeper = exec(inNetns(pod.path, ['sleep', '60']), { signal: gone.signal, timeoutMs: 60_000 }).catch(() => undefined)
    while ((await pod.exec(['ip', 'netns', 'pids', pod.name])).stdout.trim() === '') continue
    await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: pod.path, name: 'eth0' }])
    await net.deleteNetns(pod.name)
    const release = (): Promise<void> => soft.host.release(vf, { netns: pod.path, ifName: 'eth0' }, ctx())
    await expect(release()).rejects.toMatchObject({ code: 'HARDWARE_FAILURE', message: expect.stringContaining('soft0p0') })
    expect(await net.link(soft.hostNetns.path, 'soft0v0')).toBeUndefined()
    gone.abort()
    await keeper
    await release()
    expect(await net.link(soft.hostNetns.path, 'soft0v0')).toMatchObject({ up: false })
  })

  it('stops waiting for a namespace to end when it is aborted', async () => {
    await using soft = await softCard(net, 1)
    await net.apply(soft.hostNetns.path, [{ op: 'link.set', dev: 'soft0v0', alias: '' }])
    const caller = new AbortController()
    const release = soft.host.release(vf, {}, { signal: caller.signal, log: silentLogger })
    caller.abort()
    await expect(release).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  it('reports a card of which nothing is left', async () => {
    await using soft = await softCard(net, 2)
    await soft.unplug()
    const stop = new AbortController()
    const watching = soft.host.watch(stop.signal)[Symbol.asyncIterator]()
    expect(await watching.next()).toMatchObject({ value: { kind: 'device-lost', device: 'soft0' } })
    stop.abort()
    expect(await watching.next()).toMatchObject({ done: true })
    expect(await events(soft.newHost({}).watch(AbortSignal.abort()))).toEqual([])
  })

  it('gives a function that traffic passes, and that another pod can use after a crash of the first', async () => {
    await using soft = await softCard(net, 1)
    await net.apply(soft.dpuNetns.path, [
      { op: 'link.set', dev: 'soft0p0', up: true },
      { op: 'addr.add', dev: 'soft0p0', address: '10.9.0.1/24' },
    ])
    for (const _round of [1, 2]) {
      await using pod = await TestNetns.create(net, 'swp')
      const { name } = await soft.host.acquire(vf, { mac: '02:c0:ff:ee:00:09' }, ctx())
      await net.apply(soft.hostNetns.path, [{ op: 'link.move', dev: name, netns: pod.path, name: 'eth0' }])
      await net.apply(pod.path, [
        { op: 'link.set', dev: 'eth0', up: true },
        { op: 'addr.add', dev: 'eth0', address: '10.9.0.2/24' },
      ])
      expect((await ping(pod.path, '10.9.0.1')).received).toBe(3)
      await soft.host.release(vf, { netns: pod.path, ifName: 'eth0' }, ctx())
    }
  })
})
