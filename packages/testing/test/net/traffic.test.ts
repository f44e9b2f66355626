import { createLinuxNet } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'
import { afterAll, describe, expect, it } from 'vitest'
import {
  exec,
  inNetns,
  isRoot,
  ping,
  PingStream,
  PortBench,
  reaches,
  ROOT_REASON,
  TcpAnswerer,
  tcpProbe,
  tcpTransfer,
  unwirePod,
  wirePod,
} from '../../src/index.ts'

const wiring = (n: number): AttachResult => ({
  mac: `02:00:5e:00:00:0${n}`,
  mtu: 1400,
  ips: [{ address: `10.77.0.${n}/24` }, { address: `fd00:77::${n}/64` }],
  routes: [
    { dst: '192.0.2.0/24', gw: '10.77.0.1' },
    { dst: '2001:db8::/32', gw: 'fd00:77::1' },
  ],
  neighbours: [{ ip: '10.77.0.9', mac: '02:00:5e:00:00:99' }],
  dns: {},
  sysctls: { 'net.ipv4.conf.eth0.arp_notify': '1' },
})

describe.skipIf(!isRoot())(`pods that are wired together (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  /** Two pods whose ports are in one bridge. */
  async function twoPods(): Promise<{ bench: PortBench; first: string; second: string }> {
    await using made = new AsyncDisposableStack()
    const bench = made.use(await PortBench.create({ net, ports: 2 }))
    await net.apply(bench.dpuNetns, [
      { op: 'link.add-bridge', dev: 'br0' },
      { op: 'link.set', dev: 'br0', up: true },
      ...bench.ports.map(({ port }) => ({ op: 'link.set' as const, dev: port.name, master: 'br0', up: true })),
    ])
    const [first = '', second = ''] = bench.ports.map(({ pod }) => pod.path)
    await wirePod(net, first, 'eth0', wiring(2))
    await wirePod(net, second, 'eth0', wiring(3))
    made.move()
    return { bench, first, second }
  }

  it('have everything that the result says, and nothing after they were unwired', async () => {
    const { bench, first } = await twoPods()
    await using _bench = bench
    const pod = bench.ports[0]!.pod.netns
    expect(await net.link(first, 'eth0')).toMatchObject({ mac: '02:00:5e:00:00:02', mtu: 1400, up: true })
    expect(await net.addresses(first, 'eth0')).toEqual(['10.77.0.2/24', 'fd00:77::2/64'])
    expect((await net.routes(first, 'eth0')).map(({ dst }) => dst)).toEqual(expect.arrayContaining(['192.0.2.0/24', '2001:db8::/32']))
    expect(await pod.output(['ip', 'neigh', 'show', '10.77.0.9'])).toMatch(/02:00:5e:00:00:99.*PERMANENT/)
    expect((await pod.output(['cat', '/proc/sys/net/ipv4/conf/eth0/arp_notify'])).trim()).toBe('1')
    await unwirePod(net, first, 'eth0', { mac: bench.ports[0]!.vfMac, mtu: 1500 })
    expect(await net.link(first, 'eth0')).toMatchObject({ mac: bench.ports[0]!.vfMac, mtu: 1500, up: false })
    expect(await net.addresses(first, 'eth0')).toEqual([])
  })

  it('answer pings, and those that nobody answers are counted as lost', async () => {
    const { bench, first } = await twoPods()
    await using _bench = bench
    expect(await ping(first, '10.77.0.3', { count: 4 })).toEqual({ sent: 4, received: 4 })
    expect(await ping(first, 'fd00:77::3')).toEqual({ sent: 3, received: 3 })
    expect(await ping(first, '10.77.0.3', { size: 1372, dontFragment: true })).toEqual({ sent: 3, received: 3 })
    expect((await ping(first, '10.77.0.3', { size: 1373, dontFragment: true, waitMs: 100 })).received).toBe(0)
    expect((await ping(first, '10.77.0.6', { count: 1, waitMs: 100 })).received).toBe(0)
    expect(await ping(first, '203.0.113.1')).toEqual({ sent: 0, received: 0 })
    await expect(ping(first, 'no-such-name')).rejects.toMatchObject({ code: 'IO_FAILURE' })
    expect(await reaches(first, '10.77.0.3')).toBe(true)
    expect(await reaches(first, '10.77.0.6', { withinSeconds: 1 })).toBe(false)
    expect(await reaches(first, '203.0.113.1')).toBe(false)
  })

  it('are pinged all the time, and what is lost in between is counted', async () => {
    const { bench, first } = await twoPods()
    await using _bench = bench
    for (const address of ['10.77.0.3', 'fd00:77::3']) {
      expect(await reaches(first, address)).toBe(true)
      const [whole, broken] = [await PingStream.start(first, address), await PingStream.start(first, address)]
      await ping(first, address, { count: 5 })
      const { sent, received } = await whole.end()
      expect(sent).toBeGreaterThan(0)
      expect(received).toBe(sent)
      const port = (up: boolean): Promise<void> =>
        net.apply(bench.dpuNetns, [{ op: 'link.set', dev: bench.ports[1]!.port.name, master: 'br0', up }])
      await port(false)
      expect(await ping(first, address, { count: 5, waitMs: 100 })).toMatchObject({ received: 0 })
      await port(true)
      expect(await reaches(first, address, { withinSeconds: 20 })).toBe(true)
      const seen = await broken.end()
      expect(seen.received).toBeGreaterThan(0)
      expect(seen.sent - seen.received).toBeGreaterThanOrEqual(3)
    }
  })

  it('answer on the ports on which somebody listens, refuse the others, and a packet that is dropped has no answer', async () => {
    const { bench, first, second } = await twoPods()
    await using _bench = bench
    const addresses = ['10.77.0.3', 'fd00:77::3']
    const targets = addresses.flatMap((address) => [80, 81, 82].map((port) => ({ address, port })))
    {
      await using _answers = await TcpAnswerer.start(second, [80, 81])
      expect(await tcpProbe(first, targets)).toEqual(addresses.flatMap(() => ['answered', 'answered', 'refused']))
      const drop = 'table inet t { chain c { type filter hook input priority 0; tcp dport 81 drop; }; }'
      expect(await exec(inNetns(second, ['nft', '-f', '-']), { input: drop })).toMatchObject({ code: 0 })
      expect(await tcpProbe(first, targets)).toEqual(addresses.flatMap(() => ['answered', 'silent', 'refused']))
      await expect(TcpAnswerer.start(second, [80])).rejects.toMatchObject({
        code: 'IO_FAILURE',
        message: expect.stringContaining('EADDRINUSE'),
      })
    }
    expect(await tcpProbe(first, [{ address: '10.77.0.3', port: 80 }])).toEqual(['refused'])
  })

  it('pass every byte of a TCP transfer over both families', async () => {
    const { bench, first, second } = await twoPods()
    await using _bench = bench
    for (const address of ['10.77.0.3', 'fd00:77::3']) {
      const { bytes, ms } = await tcpTransfer(second, first, address, 3_000_001)
      expect(bytes).toBe(3_000_001)
      expect(ms).toBeGreaterThan(0)
    }
  })

  it('say why a transfer failed', async () => {
    const { bench, first, second } = await twoPods()
    await using _bench = bench
    await expect(tcpTransfer(second, first, '10.77.0.7', 10)).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining('EADDRNOTAVAIL'),
    })
    await net.apply(first, [{ op: 'link.set', dev: 'eth0', up: false }])
    await expect(tcpTransfer(second, first, '10.77.0.3', 10)).rejects.toMatchObject({
      code: 'IO_FAILURE',
      message: expect.stringContaining('ENETUNREACH'),
    })
  })
})
