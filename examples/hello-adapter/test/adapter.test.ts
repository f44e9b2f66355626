import { ping, wirePod } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`the hello adapter ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  const wired = async (index: number): Promise<void> => {
    await wirePod(lab.net, lab.at(index).pod.path, 'eth0', await lab.adapter.attach(lab.request(index), ctx()))
  }

  it('answers addresses of both families, the gateway, and the MAC that the VF has', async () => {
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual({
      mac: lab.at(0).vfMac,
      mtu: 1500,
      ips: [
        { address: '10.88.0.2/16', gateway: '10.88.0.1' },
        { address: 'fd00:88::2/64', gateway: 'fd00:88::1' },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '10.88.0.1' },
        { dst: '::/0', gw: 'fd00:88::1' },
      ],
      neighbours: [],
      dns: {},
      sysctls: {},
    })
  })

  it('answers one address of every pool and one default route per family', async () => {
    await lab.start({ pools: { ipv4: [{ subnet: '10.1.0.0/24' }, { subnet: '10.2.0.0/24', gateway: '10.2.0.9' }], ipv6: [] }, mtu: 1000 })
    expect(lab.adapter.capabilities.families).toEqual(['ipv4'])
    const result = await lab.adapter.attach(lab.request(0), ctx())
    expect(result).toMatchObject({
      mtu: 1000,
      ips: [
        { address: '10.1.0.2/24', gateway: '10.1.0.1' },
        { address: '10.2.0.1/24', gateway: '10.2.0.9' },
      ],
      routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }],
    })
    expect(await lab.adapter.attach(lab.request(0), ctx()), 'again, on a port whose MTU has no IPv6').toEqual(result)
    await lab.start({ pools: { ipv4: [{ subnet: '10.1.0.0/24' }, { subnet: '10.2.0.0/24', gateway: '10.2.0.9' }], ipv6: [] }, mtu: 1000 })
    expect(await lab.net.link(lab.bench.dpuNetns, 'hello0')).toMatchObject({ mtu: 1000, up: true })
  })

  it('answers the routes and the resolver that it was told', async () => {
    const routes = [{ dst: '192.0.2.0/24', gw: '10.88.0.7', mtu: 1400, table: 100 }]
    const dns = { nameservers: ['10.88.0.53'], search: ['pods.test'] }
    await lab.start({ routes, dns })
    expect(await lab.adapter.attach(lab.request(0), ctx())).toMatchObject({ routes, dns })
  })

  it('is a plain Ethernet without pools: nobody on the DPU speaks in it', async () => {
    await lab.start({ bridge: 'ether0', pools: {} })
    expect(await lab.adapter.attach(lab.request(0), ctx())).toMatchObject({ ips: [], routes: [] })
    expect(await lab.net.addresses(lab.bench.dpuNetns, 'ether0', { linkLocal: true })).toEqual([])
    await lab.adapter.status(ctx())
  })

  it('takes the MAC that the caller chose', async () => {
    const result = await lab.adapter.attach(lab.request(0, { runtimeConfig: { mac: '02:AA:00:00:00:01' } }), ctx())
    expect(result.mac).toBe('02:aa:00:00:00:01')
  })

  it('gives the addresses that the caller chose, also of one family only', async () => {
    const ask = async (index: number, ips: string[]): Promise<(string | undefined)[]> => {
      const { ips: given } = await lab.adapter.attach(lab.request(index, { runtimeConfig: { ips } }), ctx())
      return given.map(({ address }) => address)
    }
    expect(await ask(0, ['fd00:88:0::77', '10.88.1.9/16'])).toEqual(['10.88.1.9/16', 'fd00:88::77/64'])
    await expect(ask(1, ['10.88.1.9'])).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('10.88.1.9') })
    expect(await ask(1, ['10.88.1.10'])).toEqual(['10.88.1.10/16', 'fd00:88::2/64'])
  })

  it.each([
    ['10.99.0.1', /pods have other addresses of 10.88.0.0\/16/],
    ['10.88.0.1', /pods have other addresses/],
    ['10.88.0.9/24', /prefix length of 10.88.0.0\/16 is 16/],
    ['10.88.0.9', /one address of 10.88.0.0\/16/],
  ])('refuses to give %s, and takes nothing', async (address, message) => {
    const ips = [...(String(message).includes('one address') ? ['10.88.0.8'] : []), address]
    await expect(lab.adapter.attach(lab.request(0, { runtimeConfig: { ips } }), ctx())).rejects.toMatchObject({
      code: 'INVALID_NETCONF',
      message: expect.stringMatching(message),
    })
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips[0]?.address).toBe('10.88.0.2/16')
  })

  it('connects pods with the gateway and each other', async () => {
    await wired(0)
    await wired(1)
    for (const target of ['10.88.0.1', 'fd00:88::1', '10.88.0.3', 'fd00:88::3'])
      expect(await ping(lab.at(0).pod.path, target), target).toEqual({ sent: 3, received: 3 })
  })

  it('keeps attachments over a restart, and the gateway’s MAC whatever ports come', async () => {
    const gateway = (await lab.net.link(lab.bench.dpuNetns, 'hello0'))?.mac
    await wired(0)
    await lab.start()
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips[0]?.address).toBe('10.88.0.2/16')
    expect((await lab.net.link(lab.bench.dpuNetns, 'hello0'))?.mac).toBe(gateway)
    expect(await ping(lab.at(0).pod.path, '10.88.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('detach takes the port out of the bridge and frees the address for later, not for the next', async () => {
    await wired(0)
    const { key, port } = lab.request(0)
    await lab.adapter.detach({ key, port }, ctx())
    expect(await lab.net.link(lab.bench.dpuNetns, port.name)).toMatchObject({ up: false })
    expect((await lab.net.link(lab.bench.dpuNetns, port.name))?.master).toBeUndefined()
    expect(await lab.adapter.list(ctx())).toEqual([])
    await lab.adapter.detach({ key }, ctx())
    expect((await lab.adapter.attach(lab.request(1), ctx())).ips[0]?.address).toBe('10.88.0.3/16')
  })

  it('leaves a port that lost the bridge out of its list, and a repeated attach repairs it', async () => {
    await wired(0)
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.set', dev: lab.at(0).port.name, master: null }])
    expect(await lab.adapter.list(ctx())).toEqual([])
    const expected = await lab.adapter.attach(lab.request(0), ctx())
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected }, ctx())
  })

  it.each([
    ['the port left the bridge', { master: null }, /not in bridge hello0/],
    ['the port is down', { up: false }, /is down/],
    ['the MTU differs', { mtu: 1400 }, /MTU 1400/],
  ])('check fails when %s', async (_what, change, message) => {
    const expected = await lab.adapter.attach(lab.request(0), ctx())
    const { key, port } = lab.request(0)
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.set', dev: port.name, ...change }])
    await expect(lab.adapter.check({ key, port, expected }, ctx())).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringMatching(message),
    })
  })

  it('check fails for an attachment that it does not know or that has other addresses', async () => {
    const expected = await lab.adapter.attach(lab.request(0), ctx())
    const { key, port } = lab.request(0)
    await expect(lab.adapter.check({ key: lab.request(1).key, port, expected }, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    const other = { ...expected, ips: [{ address: '10.88.0.9/16' }] }
    await expect(lab.adapter.check({ key, port, expected: other }, ctx())).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringContaining('10.88.0.9/16'),
    })
  })

  it('keeps nothing of an attach whose port does not exist or whose caller gave up', async () => {
    const missing = { ...lab.at(0).port, name: 'nosuchport' }
    await expect(lab.adapter.attach(lab.request(0, { port: missing }), ctx())).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.adapter.attach(lab.request(0), ctx(AbortSignal.abort()))).rejects.toMatchObject({ code: 'CANCELLED' })
    await expect(
      lab.adapter.check({ key: lab.request(0).key, port: missing, expected: await lab.adapter.attach(lab.request(1), ctx()) }, ctx()),
    ).rejects.toMatchObject({
      code: 'CHECK_FAILED',
    })
  })

  it('keeps the addresses of a running pod whose attach fails, until it is detached', async () => {
    const had = await lab.adapter.attach(lab.request(0), ctx())
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    const missing = { ...lab.at(0).port, name: 'nosuchport' }
    await expect(lab.adapter.attach(lab.request(0, { port: missing, had }), ctx())).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const ips = had.ips.map(({ address }) => address)
    await expect(lab.adapter.attach(lab.request(1, { runtimeConfig: { ips } }), ctx())).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    })
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect((await lab.adapter.attach(lab.request(1, { runtimeConfig: { ips } }), ctx())).ips.map(({ address }) => address)).toEqual(ips)
  })

  it.each([
    ['vlan', { vlan: 7 }],
    ['hostIpam', { hostIpam: { ips: [], routes: [], dns: {} } }],
    ['flags.ipsec', { flags: { ipsec: true } }],
  ])('refuses %s', async (field, more) => {
    await expect(lab.adapter.attach(lab.request(0, more), ctx())).rejects.toMatchObject({
      code: 'UNSUPPORTED_FIELD',
      message: expect.stringContaining(field),
    })
  })

  it('is not ready without its bridge or without a free address', async () => {
    await lab.adapter.status(ctx())
    await lab.start({ pools: { ipv4: { subnet: '10.89.0.0/30' } } })
    await lab.adapter.attach(lab.request(0), ctx())
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('10.89.0.0/30') })
    await expect(lab.adapter.attach(lab.request(1), ctx())).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    await lab.adapter.status(ctx())
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'hello0' }])
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('missing') })
  })
})
