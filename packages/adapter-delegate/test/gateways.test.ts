import type { NetOp } from '@cni-offload/linux'
import type { AttachResult, CniAdapter } from '@cni-offload/sdk'
import { exec, inNetns, ping, wirePod } from '@cni-offload/testing'
import { crashAdapter } from '@cni-offload/testing/adapter'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { PluginConf } from '../src/index.ts'
import { CNI_PATH, ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const GATEWAYS = ['10.77.0.1', 'fd77::1']

/** The link of a VF does not follow that of its port as that of a veth pair does, which would make the pod forget what it has learned. */
const KEPT: readonly NetOp[] = [
  { op: 'sysctl', key: 'net.ipv4.conf.eth0.arp_evict_nocarrier', value: '0' },
  { op: 'sysctl', key: 'net.ipv6.conf.eth0.ndisc_evict_nocarrier', value: '0' },
]

describe.skipIf(!isRoot)(`a running pod that is made anew is told where its gateways are ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  let lab: Lab
  let pod: AttachResult
  beforeEach(async () => {
    lab = await Lab.create(1)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  /** The DPU's end of a pair is the gateway, and each pair has MACs of its own. */
  const ptp = (): PluginConf => ({ type: 'ptp', ipam: lab.hostLocal() })

  /** What the pod believes: MACs of its gateways. */
  const believes = async (): Promise<Record<string, string>> => {
    const { stdout } = await exec(inNetns(lab.at(0).pod.path, ['ip', '-j', 'neigh', 'show', 'dev', 'eth0']))
    const entries = z.array(z.object({ dst: z.string(), lladdr: z.string().default('') })).parse(JSON.parse(stdout))
    return Object.fromEntries(entries.filter(({ dst }) => GATEWAYS.includes(dst)).map(({ dst, lladdr }) => [dst, lladdr]))
  }
  const gatewayMac = async (): Promise<string> => {
    const links = await lab.net.links(lab.bench.dpuNetns)
    return links.find(({ name }) => name.startsWith('veth') || name === 'cni0')?.mac ?? 'none'
  }
  const both = (mac: string): Record<string, string> => Object.fromEntries(GATEWAYS.map((gateway) => [gateway, mac]))

  /** Connects a pod that has talked to its gateways, and then loses all that the CNI had made for it. */
  const lose = async (plugins: readonly PluginConf[]): Promise<void> => {
    await lab.start(plugins)
    pod = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', pod)
    await lab.net.apply(lab.at(0).pod.path, KEPT)
    for (const gateway of GATEWAYS) expect(await ping(lab.at(0).pod.path, gateway)).toEqual({ sent: 3, received: 3 })
    const before = await gatewayMac()
    expect(await believes()).toEqual(both(before))
    await lab.stop()
    await lab.proxy(0).dismantle()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: 'cni0', absentOk: true }])
    expect(await believes(), 'it does not notice').toEqual(both(before))
  }
  const again = (adapter: CniAdapter): Promise<AttachResult> => adapter.attach({ ...lab.request(0), had: pod }, ctx())

  it('where the DPU’s end of its interface is the gateway', async () => {
    await lose([ptp()])
    expect(await again(await lab.start([ptp()]))).toEqual(pod)
    expect(await believes()).toEqual(both(await gatewayMac()))
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })

  it('where a bridge is', async () => {
    await lose([lab.bridge()])
    expect(await again(await lab.start([lab.bridge()]))).toEqual(pod)
    expect(await believes()).toEqual(both(await gatewayMac()))
  })

  it('not that it is a bridge which has no address: the gateway is another’s', async () => {
    const external = lab.bridge({ isGateway: false, ipam: { ...lab.hostLocal(), routes: [{ dst: '0.0.0.0/0' }] } })
    await lab.start([external])
    pod = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', pod)
    await lab.net.apply(lab.at(0).pod.path, KEPT)
    const router = '02:00:00:00:00:07'
    await exec(inNetns(lab.at(0).pod.path, ['ip', 'neigh', 'replace', '10.77.0.1', 'lladdr', router, 'dev', 'eth0', 'nud', 'stale']))
    await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
    expect(await again(lab.adapter)).toEqual(pod)
    expect(await believes()).toEqual({ '10.77.0.1': router })
  })

  it('also when the agent dies right before: the attachment is left out of the list until then', async () => {
    await lose([ptp()])
    const options = { conflist: { cniVersion: '1.0.0', name: 'labnet', plugins: [ptp()] }, cniPath: [CNI_PATH] }
    const plugin = {
      plugin: import.meta.resolve('../src/index.ts'),
      export: 'delegate',
      options: { ...options, proxyPrefix: lab.prefix, netns: lab.bench.dpuNetns },
    }
    const requests = [{ ...lab.request(0), had: pod }]
    const step = 'delegate.attach.finished'
    expect(await crashAdapter({ plugin, stateDir: lab.deps.stateDir, requests, calls: ['attach'] }, { step })).toBe(step)
    expect(await believes()).not.toEqual(both(await gatewayMac()))
    await lab.start([ptp()])
    expect(await lab.adapter.list(ctx())).toEqual([])
    const device = await gatewayMac()
    expect(await again(lab.adapter)).toEqual(pod)
    expect(await gatewayMac(), 'nothing is made anew for it').toBe(device)
    expect(await believes()).toEqual(both(device))
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })
})
