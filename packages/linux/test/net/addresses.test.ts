import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetnsPath, NetOp } from '../../src/index.ts'
import { ipJson, run, TestNet, unprivileged } from '../support.ts'

describe.skipIf(unprivileged)('addresses, routes and neighbours (needs root for network namespaces)', () => {
  let lab: TestNet
  let a: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    a = await lab.netns()
    await lab.apply(
      a,
      { op: 'link.add-veth', dev: 'v0', peer: { name: 'v1' } },
      { op: 'link.set', dev: 'v0', up: true },
      { op: 'link.set', dev: 'v1', up: true },
    )
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const add = (...addresses: string[]): Promise<void> =>
    lab.apply(a, ...addresses.map((address): NetOp => ({ op: 'addr.add', dev: 'v0', address })))

  test('are added, IPv6 usable at once, IPv4 with broadcast address', async () => {
    await add('10.0.0.2/24', '10.0.1.2/32', 'FD00::2/64')
    expect(await lab.net.addresses(a, 'v0')).toEqual(['10.0.0.2/24', '10.0.1.2/32', 'fd00::2/64'])
    const [link] = ipJson(a, 'addr', 'show', 'dev', 'v0')
    const info = link?.['addr_info'] as Record<string, unknown>[]
    expect(info.find(({ local }) => local === '10.0.0.2')).toMatchObject({ prefixlen: 24, broadcast: '10.0.0.255', scope: 'global' })
    expect(info.find(({ local }) => local === '10.0.1.2')).not.toHaveProperty('broadcast')
    const six = info.find(({ local }) => local === 'fd00::2')
    expect(six).toMatchObject({ prefixlen: 64, nodad: true })
    expect(six).not.toHaveProperty('tentative')
  })

  test('bring the route to their prefix along unless that is not wanted', async () => {
    await add('10.0.0.2/24', 'fd00::2/64')
    const apart: NetOp[] = ['10.0.1.2/24', 'fd01::2/64'].map((address) => ({ op: 'addr.add', dev: 'v0', address, prefixRoute: false }))
    await lab.apply(a, ...apart)
    const made = [...ipJson(a, 'route', 'show', 'dev', 'v0'), ...ipJson(a, '-6', 'route', 'show', 'dev', 'v0')].map(({ dst }) => dst)
    expect(made).toEqual(expect.arrayContaining(['10.0.0.0/24', 'fd00::/64']))
    expect(made).not.toContain('10.0.1.0/24')
    expect(made).not.toContain('fd01::/64')
    const info = ipJson(a, 'addr', 'show', 'dev', 'v0')[0]?.['addr_info'] as Record<string, unknown>[]
    expect(info.find(({ local }) => local === 'fd01::2')).toMatchObject({ nodad: true, noprefixroute: true })
  })

  test('are removed one by one, and a missing one is success', async () => {
    await add('10.0.0.2/24', '10.0.0.3/24', 'fe80::7/64', 'fd00::2/64')
    const del = (address: string): NetOp => ({ op: 'addr.del', dev: 'v0', address })
    await lab.apply(a, del('10.0.0.3/24'), del('fe80::7/64'), del('10.0.0.9/24'), del('FD00::2/64'))
    const left = await lab.net.addresses(a, 'v0', { linkLocal: true })
    expect(left).toContain('10.0.0.2/24')
    for (const gone of ['10.0.0.3/24', 'fe80::7/64', 'fd00::2/64']) expect(left).not.toContain(gone)
    // Another prefix length is another address.
    await lab.apply(a, del('10.0.0.2/16'))
    expect(await lab.net.addresses(a, 'v0')).toEqual(['10.0.0.2/24'])
    await expect(lab.apply(a, { ...del('10.0.0.2/24'), dev: 'nope' } as NetOp)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('of the link only are listed when they are asked for', async () => {
    await add('fe80::7/64', 'fd00::2/64')
    expect(await lab.net.addresses(a, 'v0')).toEqual(['fd00::2/64'])
    expect(await lab.net.addresses(a, 'v0', { linkLocal: true })).toContain('fe80::7/64')
  })

  test('are tentative until it is known that nobody else has them, unless that is not asked', async () => {
    await expect(lab.net.tentativeAddresses(a, 'nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await lab.apply(a, { op: 'link.add-bridge', dev: 'br0' }, { op: 'link.set', dev: 'br0', up: true })
    // Without carrier the detection does not begin.
    run(a, 'ip', 'address', 'add', 'fd01::1/64', 'dev', 'br0')
    await add('10.0.0.2/24', 'fd00::2/64')
    expect(await lab.net.tentativeAddresses(a)).toContain('fd01::1/64')
    expect(await lab.net.tentativeAddresses(a, 'br0')).toContain('fd01::1/64')
    expect(await lab.net.tentativeAddresses(a, 'v0')).not.toContain('fd01::1/64')
    expect(await lab.net.tentativeAddresses(a, 'v0')).not.toContain('fd00::2/64')
    await lab.apply(a, { op: 'link.set', dev: 'v0', master: 'br0' })
    await expect.poll(() => lab.net.tentativeAddresses(a, 'br0'), { timeout: 20_000 }).toEqual([])
    expect(await lab.net.addresses(a, 'br0')).toEqual(['fd01::1/64'])
  })

  test('that somebody else has are not tentative for ever', async () => {
    const b = await lab.netns()
    await lab.apply(a, { op: 'link.move', dev: 'v1', netns: b, name: 'v1' })
    await lab.apply(b, { op: 'link.set', dev: 'v1', up: true }, { op: 'addr.add', dev: 'v1', address: 'fd02::1/64' })
    run(a, 'ip', 'address', 'add', 'fd02::1/64', 'dev', 'v0')
    await expect.poll(() => lab.net.tentativeAddresses(a, 'v0'), { timeout: 20_000 }).toEqual([])
    const info = ipJson(a, 'addr', 'show', 'dev', 'v0')[0]?.['addr_info'] as Record<string, unknown>[]
    expect(info.find(({ local }) => local === 'fd02::1')).toMatchObject({ tentative: true, dadfailed: true })
  })

  test('can be many', async () => {
    const many = Array.from({ length: 300 }, (_, index) => `fd00::${(index + 1).toString(16)}/128`)
    await add(...many)
    expect((await lab.net.addresses(a, 'v0')).toSorted()).toEqual(many.toSorted())
  })

  test('are flushed but for link-local ones; secondary ones go with their primary', async () => {
    await add('10.0.0.2/24', '10.0.0.3/24', '10.0.1.2/32', 'fd00::2/64')
    await lab.apply(a, { op: 'addr.flush', dev: 'v0' }, { op: 'addr.flush', dev: 'v0' })
    expect(await lab.net.addresses(a, 'v0')).toEqual([])
    const left = ipJson(a, 'addr', 'show', 'dev', 'v0')[0]?.['addr_info'] as Record<string, unknown>[]
    expect(left.map(({ scope }) => scope)).toEqual(['link'])
  })

  test('that exist already, are none, or are of a missing device are refused', async () => {
    await add('10.0.0.2/24', 'fd00::2/64')
    await expect(add('10.0.0.2/24')).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining(`addr.add in ${a}: v0 10.0.0.2/24: EEXIST`),
    })
    await expect(add('fd00::2/64')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await expect(add('10.0.0.2')).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('"10.0.0.2" is no address with prefix length'),
    })
    await expect(lab.apply(a, { op: 'addr.add', dev: 'nope', address: '10.0.0.9/24' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.apply(a, { op: 'addr.flush', dev: 'nope' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.net.addresses(a, 'nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('get routes, which are reported in normal form', async () => {
    await add('10.0.0.2/32', 'fd00::2/64')
    const routes = [
      { dst: '10.0.0.1/32', scope: 253 },
      { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400, advmss: 1360, priority: 7 },
      { dst: '192.168.1.99/16', gw: '10.0.0.1', table: 1000 },
      { dst: '::/0', gw: 'fd00::1', mtu: 1400 },
      { dst: 'fd11::/48', table: 100, priority: 9 },
    ]
    await lab.apply(a, ...routes.map((route): NetOp => ({ op: 'route.add', dev: 'v0', route })))
    const reported = await lab.net.routes(a, 'v0')
    expect(reported).toHaveLength(5)
    expect(reported).toEqual(
      expect.arrayContaining([
        { dst: '10.0.0.1/32' },
        { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400, advmss: 1360, priority: 7 },
        { dst: '192.168.0.0/16', gw: '10.0.0.1', table: 1000 },
        { dst: '::/0', gw: 'fd00::1', mtu: 1400 },
        { dst: 'fd11::/48', table: 100, priority: 9 },
      ]),
    )
    const [dflt] = ipJson(a, 'route', 'show', 'default')
    expect(dflt).toMatchObject({ gateway: '10.0.0.1', dev: 'v0', protocol: 'static', metric: 7, metrics: [{ mtu: 1400, advmss: 1360 }] })
    expect(ipJson(a, 'route', 'show', 'table', '1000')).toMatchObject([{ dst: '192.168.0.0/16' }])
    expect(await lab.net.routes(a, 'v1')).toEqual([])
  })

  test('lose the very route that is named and no other, however often', async () => {
    await add('10.0.0.2/32', 'fd00::2/64')
    const routes = [
      { dst: '10.0.0.1/32', scope: 253 },
      { dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400 },
      { dst: '0.0.0.0/0', gw: '10.0.0.1', priority: 7 },
      { dst: '0.0.0.0/0', gw: '10.0.0.1', table: 1000 },
      { dst: '::/0', gw: 'fd00::1' },
      { dst: '::/0', gw: 'fd00::1', priority: 9 },
    ]
    await lab.apply(a, ...routes.map((route): NetOp => ({ op: 'route.add', dev: 'v0', route })))
    await lab.apply(a, { op: 'route.del', dev: 'v0', route: { dst: '10.5.0.0/16' } }, { op: 'route.del', dev: 'v1', route: routes[0]! })
    expect(await lab.net.routes(a, 'v0')).toHaveLength(6)
    const left = new Set((await lab.net.routes(a, 'v0')).map((route) => JSON.stringify(route)))
    for (const route of [routes[3]!, routes[1]!, routes[4]!, routes[2]!, routes[5]!, routes[0]!]) {
      const before = left.size
      await lab.apply(a, { op: 'route.del', dev: 'v0', route })
      const now = new Set((await lab.net.routes(a, 'v0')).map((one) => JSON.stringify(one)))
      const [gone, ...more] = [...left].filter((one) => !now.has(one)).map((one) => JSON.parse(one) as typeof route)
      expect(more).toEqual([])
      expect([gone?.dst, gone?.priority, gone?.table]).toEqual([route.dst, route.priority, route.table])
      await lab.apply(a, { op: 'route.del', dev: 'v0', route })
      for (const one of left) if (!now.has(one)) left.delete(one)
      expect(left.size).toBe(before - 1)
    }
  })

  test('of IPv6 can be next hops of IPv4 routes', async () => {
    await add('10.0.0.2/32', 'fd00::2/64')
    const route = { dst: '10.9.0.0/16', gw: 'fd00::1' }
    await lab.apply(a, { op: 'route.add', dev: 'v0', route })
    expect(await lab.net.routes(a, 'v0')).toEqual([route])
  })

  test('get no route that exists already or whose gateway is unreachable', async () => {
    await add('10.0.0.2/24')
    const route = { dst: '10.9.0.0/16', gw: '10.0.0.1' }
    await lab.apply(a, { op: 'route.add', dev: 'v0', route })
    await expect(lab.apply(a, { op: 'route.add', dev: 'v0', route })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await lab.apply(a, { op: 'route.add', dev: 'v0', route, existsOk: true })
    await expect(lab.apply(a, { op: 'route.add', dev: 'v0', route: { dst: '0.0.0.0/0', gw: '99.0.0.1' } })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: `route.add in ${a}: v0 0.0.0.0/0 via 99.0.0.1: ENETUNREACH: Nexthop has invalid gateway`,
    })
    await expect(lab.apply(a, { op: 'route.add', dev: 'nope', route })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(lab.net.routes(a, 'nope')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('get permanent neighbours, the last one wins', async () => {
    await lab.apply(
      a,
      { op: 'neigh.add', dev: 'v0', ip: '10.0.0.1', mac: '02:00:00:00:00:01' },
      { op: 'neigh.add', dev: 'v0', ip: '10.0.0.1', mac: '02:00:00:00:00:02' },
      { op: 'neigh.add', dev: 'v0', ip: 'fd00::1', mac: '02:00:00:00:00:03' },
    )
    const entries = ipJson(a, 'neigh', 'show', 'nud', 'permanent')
    expect(Object.fromEntries(entries.map(({ dst, lladdr }) => [dst, lladdr]))).toEqual({
      '10.0.0.1': '02:00:00:00:00:02',
      'fd00::1': '02:00:00:00:00:03',
    })
    await expect(lab.apply(a, { op: 'neigh.add', dev: 'nope', ip: '10.0.0.1', mac: '02:00:00:00:00:01' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    await expect(lab.apply(a, { op: 'neigh.add', dev: 'v0', ip: '10.0.0.300', mac: '02:00:00:00:00:01' })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
    })
  })

  test('depend on kernel variables of their own namespace only', async () => {
    const read = (netns: NetnsPath): string => run(netns, 'cat', '/proc/sys/net/ipv4/ip_forward').output.trim()
    const other = await lab.netns()
    const before = read(other)
    const value = before === '1' ? '0' : '1'
    await lab.apply(
      a,
      { op: 'sysctl', key: 'net.ipv4.ip_forward', value },
      { op: 'sysctl', key: 'net.ipv6.conf.v0.disable_ipv6', value: '1' },
    )
    expect([read(a), read(other)]).toEqual([value, before])
    expect(run(a, 'cat', '/proc/sys/net/ipv6/conf/v0/disable_ipv6').output.trim()).toBe('1')
    await expect(lab.apply(a, { op: 'sysctl', key: 'net.ipv4.conf.nope.arp_filter', value: '1' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `sysctl in ${a}: net.ipv4.conf.nope.arp_filter=1: there is no kernel variable net.ipv4.conf.nope.arp_filter (ENOENT)`,
    })
    await expect(lab.apply(a, { op: 'sysctl', key: 'net.ipv4.ip_forward', value: 'x' })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('EINVAL'),
    })
  })
})
