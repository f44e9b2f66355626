import { exec, inNetns, ping, tcpTransfer, wirePod } from '@cni-offload/testing'
import type { AttachResult } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { PluginConf } from '../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const iptables = isRoot ? (await exec(['iptables', '-V']).catch(() => ({ code: 1 }))).code === 0 : false

/** Answers one connection and ends. */
const SERVER = `require('net').createServer(function (s) { s.end('hello'); this.close() }).listen(8080, '10.77.0.2')`

/** Tries until the server listens. */
const CLIENT = `(function go(n) { require('net').connect(18080, '10.77.0.1').on('error', e => n ? setTimeout(go, 50, n - 1) : process.exit(1)).pipe(process.stdout) })(60)`

describe.skipIf(!isRoot)(`other stock lists behind the splice ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(2)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  const wired = async (index: number, runtimeConfig: Record<string, unknown> = {}): Promise<AttachResult> => {
    const result = await lab.adapter.attach(lab.request(index, { runtimeConfig }), ctx())
    await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
    return result
  }

  it('ptp: the gateway is reached on the link, other pods through it', async () => {
    await lab.start([{ type: 'ptp', ipam: lab.hostLocal() }])
    await lab.net.apply(lab.bench.dpuNetns, [
      { op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.all.forwarding', value: '1' },
    ])
    const result = await wired(0)
    await wired(1)
    expect(result.ips).toEqual([
      { address: '10.77.0.2/24', gateway: '10.77.0.1' },
      { address: 'fd77::2/64', gateway: 'fd77::1' },
    ])
    expect(result.routes).toEqual([
      { dst: '10.77.0.1/32' },
      { dst: 'fd77::1/128' },
      { dst: '0.0.0.0/0', gw: '10.77.0.1' },
      { dst: '10.77.0.0/24', gw: '10.77.0.1' },
      { dst: 'fd77::/64', gw: 'fd77::1' },
      { dst: '::/0', gw: 'fd77::1' },
    ])
    for (const target of ['10.77.0.1', 'fd77::1', '10.77.0.3', 'fd77::3'])
      expect(await ping(lab.at(0).pod.path, target, { waitMs: 4000 }), target).toEqual({ sent: 3, received: 3 })
    await lab.adapter.check({ key: lab.request(0).key, port: lab.at(0).port, expected: result }, ctx())
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.reserved()).toEqual(['10.77.0.3', 'fd77::3'])
  })

  it.skipIf(!iptables)('portmap: a host port of the DPU reaches the pod (skipped where iptables is not installed)', async () => {
    await lab.start([lab.bridge(), { type: 'portmap', capabilities: { portMappings: true }, snat: true }])
    expect(lab.adapter.capabilities.runtimeConfig).toEqual(['portMappings'])
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' }])
    const portMappings = [{ hostPort: 18_080, containerPort: 8080, protocol: 'tcp' }]
    await wired(0, { portMappings, bandwidth: { ingressRate: 1 } })
    await wired(1)
    const server = exec(inNetns(lab.at(0).pod.path, [process.execPath, '-e', SERVER]))
    const client = await exec(inNetns(lab.at(1).pod.path, [process.execPath, '-e', CLIENT]))
    expect(client).toMatchObject({ code: 0, stdout: 'hello' })
    expect(await server).toMatchObject({ code: 0 })
    const rules = async (): Promise<string> => (await exec(inNetns(lab.bench.dpuNetns, ['iptables', '-t', 'nat', '-S']))).stdout
    expect(await rules()).toMatch(/18080/)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await rules()).not.toMatch(/18080/)
  })

  it('mac and ips capabilities reach the plugins that declare them, and only those', async () => {
    const mac: PluginConf = { type: 'tuning', capabilities: { mac: true } }
    await lab.start([lab.bridge({ capabilities: { ips: true } }), mac])
    expect(lab.adapter.capabilities).toMatchObject({ runtimeConfig: ['ips', 'mac'], fixedMac: true })
    const result = await wired(0, { mac: '02:12:34:56:78:9a', ips: ['10.77.0.77'] })
    expect(result.mac).toBe('02:12:34:56:78:9a')
    expect(result.ips.map(({ address }) => address)).toContain('10.77.0.77/24')
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('a list of version 0.4.0 works too, and the pod’s interface may have any name', async () => {
    await lab.start([lab.bridge()], {}, '0.4.0')
    const key = lab.at(0).pod.key('podnet', 'net1')
    const result = await lab.adapter.attach(lab.request(0, { key }), ctx())
    expect((await lab.net.link(lab.proxy(0).path, 'net1'))?.mac).toBe(result.mac)
    expect(await lab.adapter.list(ctx())).toEqual([key])
    await lab.adapter.check({ key, port: lab.at(0).port, expected: result }, ctx())
    await lab.adapter.detach({ key }, ctx())
    expect(await lab.reserved()).toEqual([])
  })

  it('a list without addresses gives a layer-2 attachment', async () => {
    await lab.start([{ type: 'bridge', bridge: 'cni0', ipam: {} }])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toMatchObject({ ips: [], routes: [], mtu: 1500 })
  })

  it('segmentation off-load on the way does not hide an MTU that is too large', async () => {
    await lab.start([lab.bridge({ mtu: 1300 })])
    await wired(0)
    await wired(1)
    for (const dev of ['eth0', 'vf0']) await exec(inNetns(lab.proxy(0).path, ['ethtool', '-K', dev, 'tso', 'off', 'gso', 'off']))
    const { bytes } = await tcpTransfer(lab.at(1).pod.path, lab.at(0).pod.path, '10.77.0.3', 1_000_000)
    expect(bytes).toBe(1_000_000)
    expect(await ping(lab.at(0).pod.path, '10.77.0.3', { size: 1300 - 28, dontFragment: true })).toEqual({ sent: 3, received: 3 })
  })
})
