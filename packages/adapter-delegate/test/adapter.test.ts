import { exec, inNetns, ping, tcpTransfer, unwirePod, wirePod } from '@cni-offload/testing'
import type { AttachResult } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PORT_IN_PROXY } from '../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`stock bridge, tuning and host-local behind the splice ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2)
    await lab.start([lab.bridge(), { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1', 'net.core.somaxconn': '500' } }])
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  const wired = async (index: number): Promise<AttachResult> => {
    const result = await lab.adapter.attach(lab.request(index), ctx())
    await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
    return result
  }

  it('moves the ports into proxy namespaces at start, silent and down', async () => {
    expect(await lab.net.link(lab.bench.dpuNetns, lab.at(0).port.name)).toBeUndefined()
    const links = await lab.proxy(0).links()
    expect(links?.map(({ name, up }) => ({ name, up }))).toEqual([
      { name: 'lo', up: true },
      { name: PORT_IN_PROXY, up: false },
    ])
  })

  it('answers what the CNI decided: addresses, MAC, MTU, routes, sysctls', async () => {
    const result = await lab.adapter.attach(lab.request(0), ctx())
    const inside = await lab.net.link(lab.proxy(0).path, 'eth0')
    expect(result).toEqual({
      mac: inside?.mac,
      mtu: 1450,
      ips: [
        { address: '10.77.0.2/24', gateway: '10.77.0.1' },
        { address: 'fd77::2/64', gateway: 'fd77::1' },
      ],
      routes: [
        { dst: '0.0.0.0/0', gw: '10.77.0.1' },
        { dst: '::/0', gw: 'fd77::1' },
      ],
      neighbours: [],
      dns: {},
      sysctls: { 'net.ipv4.conf.eth0.arp_filter': '1', 'net.core.somaxconn': '500' },
    })
    expect((await lab.net.link(lab.proxy(0).path, PORT_IN_PROXY))?.mtu).toBe(1450)
  })

  it('lets pods reach the gateway and each other, v4 and v6, at full MTU, with TCP', async () => {
    const [a, b] = [await wired(0), await wired(1)]
    const [podA, podB] = [lab.at(0).pod.path, lab.at(1).pod.path]
    for (const target of ['10.77.0.1', 'fd77::1', ...b.ips.map(({ address }) => address.split('/')[0] ?? '')])
      expect(await ping(podA, target, { count: 3, waitMs: 4000 }), target).toEqual({ sent: 3, received: 3 })
    expect(await ping(podA, '10.77.0.3', { size: 1450 - 28, dontFragment: true })).toEqual({ sent: 3, received: 3 })
    const { bytes } = await tcpTransfer(podB, podA, '10.77.0.3', 3_000_000)
    expect(bytes).toBe(3_000_000)
    expect(a.ips[0]?.address).toBe('10.77.0.2/24')
  })

  it('keeps the addresses in the proxy without its stack ever answering, so that the plugins’ own CHECK passes', async () => {
    const result = await wired(0)
    await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: result }, ctx())
    // Nobody but the pod answers: with the pod's interface down the address is silent.
    await lab.net.apply(lab.at(0).pod.path, [{ op: 'link.set', dev: 'eth0', up: false }])
    expect(await ping(lab.bench.dpuNetns, '10.77.0.2', { count: 2 })).toEqual({ sent: 2, received: 0 })
    expect(await ping(lab.bench.dpuNetns, 'fd77::2', { count: 2 })).toEqual({ sent: 2, received: 0 })
  })

  it('has nothing in the proxy that could speak IPv6 by itself', async () => {
    await wired(0)
    const addresses = await exec(inNetns(lab.proxy(0).path, ['ip', '-6', '-br', 'addr', 'show']))
    const byLink = addresses.stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/@\S+/, '').split(/\s+/).toSpliced(1, 1).join(' ').trim())
    expect(byLink.toSorted()).toEqual(['eth0 fd77::2/64', 'lo ::1/128'])
  })

  it('names the settings of an interface with a dot so that the host can make them', async () => {
    // Older releases of the plugin look for such an interface in the wrong folder, so here is one that leaves it to the host.
    await lab.script('tuning', `conf=$(cat)\ncase "$CNI_COMMAND" in ADD) echo "$conf" | sed 's/.*"prevResult"://; s/}$//';; esac`)
    await lab.start([lab.bridge(), { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } }])
    const [ifName, { pod }] = ['eth0.100', lab.at(0)]
    const result = await lab.adapter.attach(lab.request(0, { key: pod.key('podnet', ifName) }), ctx())
    expect(result.sysctls).toEqual({ 'net.ipv4.conf.eth0/100.arp_filter': '1' })
    await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', name: ifName }])
    await wirePod(lab.net, pod.path, ifName, result)
    const { stdout } = await exec(inNetns(pod.path, ['cat', `/proc/sys/net/ipv4/conf/${ifName}/arp_filter`]))
    expect(stdout.trim()).toBe('1')
    expect(await ping(pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('gives the same result again, without running the list again', async () => {
    const first = await lab.adapter.attach(lab.request(0), ctx())
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    expect(await lab.reserved()).toHaveLength(2)
  })

  it('detach frees addresses, leaves the port in its proxy as it was, and is idempotent', async () => {
    const result = await wired(0)
    await lab.adapter.detach({ key: lab.request(0).key, port: lab.at(0).port }, ctx())
    const links = await lab.proxy(0).links()
    expect(links?.map(({ name, up, mtu, alias }) => ({ name, up, mtu, alias: name === 'lo' ? '' : alias }))).toEqual([
      { name: 'lo', up: true, mtu: 65_536, alias: '' },
      { name: PORT_IN_PROXY, up: false, mtu: 1500, alias: '' },
    ])
    expect(await lab.net.redirectTarget(lab.proxy(0).path, PORT_IN_PROXY)).toBeUndefined()
    expect(await lab.reserved()).toEqual([])
    expect(await lab.adapter.list(ctx())).toEqual([])
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    await unwirePod(lab.net, lab.at(0).pod.path, 'eth0', { mac: lab.at(0).vfMac, mtu: 1500 })
    const again = await wired(0)
    expect(again.ips[0]?.address).not.toBe(result.ips[0]?.address)
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('lists what is really spliced', async () => {
    await wired(0)
    await wired(1)
    const keys = [lab.request(0).key, lab.request(1).key]
    expect(await lab.adapter.list(ctx())).toEqual(keys)
    await lab.net.apply(lab.proxy(1).path, [{ op: 'redirect.clear', dev: 'eth0' }])
    expect(await lab.adapter.list(ctx())).toEqual([keys[0]])
  })

  it('repairs a splice that was lost, with the same result', async () => {
    const first = await wired(0)
    await lab.net.apply(lab.proxy(0).path, [
      { op: 'redirect.clear', dev: 'eth0' },
      { op: 'link.set', dev: PORT_IN_PROXY, up: false },
    ])
    expect(await ping(lab.at(0).pod.path, '10.77.0.1', { count: 1 })).toMatchObject({ received: 0 })
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it.each([
    ['the CNI’s interface is gone', (dev: string) => [{ op: 'link.del' as const, dev }], /eth0 is gone/],
    ['a redirect is gone', (dev: string) => [{ op: 'redirect.clear' as const, dev }], /not redirected/],
    ['the other redirect is gone', () => [{ op: 'redirect.clear' as const, dev: PORT_IN_PROXY }], /not redirected/],
    ['the MAC differs', (dev: string) => [{ op: 'link.set' as const, dev, mac: '02:00:00:00:99:99' }], /MAC 02:00:00:00:99:99/],
    ['the MTU of the port differs', () => [{ op: 'link.set' as const, dev: PORT_IN_PROXY, mtu: 1400 }], /MTU 1400/],
    ['the port is down', () => [{ op: 'link.set' as const, dev: PORT_IN_PROXY, up: false }], /vf0 is down/],
    ['the CNI’s own CHECK objects', (dev: string) => [{ op: 'addr.flush' as const, dev }], /plugin "bridge", CHECK/],
  ])('check fails when %s', async (_what, tamper, message) => {
    const expected = await wired(0)
    const { key } = lab.request(0)
    await lab.net.apply(lab.proxy(0).path, tamper('eth0'))
    await expect(lab.adapter.check({ key, port: lab.at(0).port, expected }, ctx())).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringMatching(message),
    })
  })

  it('refuses to give one port to two attachments and leaves the first intact', async () => {
    await wired(0)
    const second = lab.request(0, { key: lab.at(1).pod.key('podnet') })
    await expect(lab.adapter.attach(second, ctx())).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it.each([
    ['vlan', { vlan: 7 }],
    ['hostIpam', { hostIpam: { ips: [], routes: [], dns: {} } }],
    ['flags.ipsec', { flags: { ipsec: true } }],
  ])('refuses %s, which a list cannot honour', async (field, more) => {
    await expect(lab.adapter.attach(lab.request(0, more), ctx())).rejects.toMatchObject({
      code: 'UNSUPPORTED_FIELD',
      message: expect.stringContaining(field),
    })
  })

  it('is ready, and says so only while all plugins are there', async () => {
    await lab.adapter.status(ctx())
    await lab.start([lab.bridge(), { type: 'nosuch' }])
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('nosuch') })
  })
})
