import { rm } from 'node:fs/promises'
import { ping, wirePod } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { attachmentNote, PORT_IN_PROXY } from '../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`restarts and losses ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2)
    await lab.start([lab.bridge()])
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it('a restarted agent adopts proxies and attachments; traffic never stops', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', first)
    const before = await lab.proxy(0).links()
    await lab.stop()
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
    await lab.start([lab.bridge()])
    expect((await lab.proxy(0).links())?.map(({ index, name }) => ({ index, name }))).toEqual(
      before?.map(({ index, name }) => ({ index, name })),
    )
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.reserved()).toEqual([])
  })

  it('DEL uses the list that ADD was run with, also when the configuration has changed meanwhile', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.start([{ type: 'ptp', ipam: { type: 'static' } }])
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
  })

  it('a running pod is connected again, with its addresses and its MAC, when the DPU lost its network', async () => {
    const expected = await Promise.all([0, 1].map((index) => lab.adapter.attach(lab.request(index), ctx())))
    for (const [index, result] of expected.entries()) await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
    await lab.stop()
    // As after a reboot: ports are where they appear first, namespaces and what the CNI made are gone, its files are not.
    for (const index of [0, 1]) await lab.proxy(index).dismantle()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'cni0' }])
    await lab.start([lab.bridge()])
    expect(await lab.adapter.list(ctx())).toEqual([])
    // In the other order, so that equal addresses are no accident.
    for (const index of [1, 0]) expect(await lab.adapter.attach(lab.request(index), ctx())).toEqual(expected[index])
    for (const target of ['10.77.0.1', 'fd77::1', '10.77.0.3', 'fd77::3'])
      expect(await ping(lab.at(0).pod.path, target, { waitMs: 4000 }), target).toEqual({ sent: 3, received: 3 })
    const [result] = expected
    if (result !== undefined) await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: result }, ctx())
  })

  it('the MAC is asked of a plugin that can be asked for it', async () => {
    await lab.start([lab.bridge(), { type: 'tuning', capabilities: { mac: true } }])
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: first }, ctx())
  })

  it('an attachment moves to another port with its addresses', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    const moved = await lab.adapter.attach(lab.request(0, { port: lab.at(1).port }), ctx())
    expect(moved).toEqual(first)
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })

  it('what is attached is found and removed even if the database is lost', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toEqual(first.ips)
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect((await lab.proxy(0).links())?.map(({ name }) => name)).toEqual(['lo', PORT_IN_PROXY])
  })

  it('detach of an unknown attachment never touches who has the port now', async () => {
    const result = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    await lab.adapter.detach({ key: lab.at(1).pod.key('podnet'), port: lab.at(0).port }, ctx())
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('detach of what was ousted from its port frees its addresses and leaves the successor alone', async () => {
    const result = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    const successor = attachmentNote(lab.at(1).pod.key('podnet'))
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.set', dev: 'eth0', alias: successor }])
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('a port whose holder is known only by its note is not given to another', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.stop()
    await rm(lab.deps.stateDir, { recursive: true })
    await lab.start([lab.bridge()])
    const { containerId } = lab.request(0).key
    const second = lab.request(0, { key: lab.at(1).pod.key('podnet') })
    await expect(lab.adapter.attach(second, ctx())).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining(containerId),
    })
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })

  it('detach works when the proxy namespace is gone', async () => {
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.net.deleteNetns(lab.proxy(0).name)
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    expect(await lab.reserved()).toEqual([])
  })

  it('a port that was plugged in again is adopted at the next attach', async () => {
    const { port, pod } = lab.at(0)
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: PORT_IN_PROXY }])
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining(port.name),
    })
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.add-veth', dev: port.name, peer: { name: 'eth0', netns: pod.path } }])
    await wirePod(lab.net, pod.path, 'eth0', await lab.adapter.attach(lab.request(0), ctx()))
    expect(await ping(pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('a missing port does not keep the others from starting', async () => {
    await lab.stop()
    await lab.proxy(1).dismantle()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: lab.at(1).port.name }])
    await lab.start([lab.bridge()])
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toHaveLength(2)
  })

  it('dismantle gives the port back as it was', async () => {
    await lab.stop()
    await lab.proxy(0).dismantle()
    expect(await lab.net.link(lab.bench.dpuNetns, lab.at(0).port.name)).toMatchObject({ mtu: 1500, up: false })
    expect(await lab.proxy(0).links()).toBeUndefined()
    await lab.proxy(0).dismantle()
  })
})

describe.skipIf(!isRoot)(`eight pods at the same time ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(8)
    await lab.start([lab.bridge()])
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  it('get addresses of their own, and leave nothing', async () => {
    const results = await Promise.all(lab.bench.ports.map((_port, index) => lab.adapter.attach(lab.request(index), ctx())))
    const addresses = results.flatMap(({ ips }) => ips.map(({ address }) => address))
    expect(new Set(addresses).size).toBe(16)
    await Promise.all(lab.bench.ports.map((_port, index) => lab.adapter.detach({ key: lab.request(index).key }, ctx())))
    expect(await lab.reserved()).toEqual([])
    expect(await lab.adapter.list(ctx())).toEqual([])
  })
})
