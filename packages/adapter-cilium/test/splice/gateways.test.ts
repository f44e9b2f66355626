import type { NetOp } from '@cni-offload/linux'
import type { AttachResult } from '@cni-offload/sdk'
import { exec, inNetns, reaches, wirePod } from '@cni-offload/testing'
import { crashAdapter } from '@cni-offload/testing/adapter'
import type { FakeCiliumOptions } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { lxcName } from '../../src/agent-api/identity.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from '../lab.ts'

const ROUTERS = ['10.66.0.1', 'fd66::1']

/** The link of a VF does not follow that of its port as that of a veth pair does, which would make the pod forget what it has learned. */
const KEPT: readonly NetOp[] = [
  { op: 'sysctl', key: 'net.ipv4.conf.eth0.arp_evict_nocarrier', value: '0' },
  { op: 'sysctl', key: 'net.ipv6.conf.eth0.ndisc_evict_nocarrier', value: '0' },
]

describe.skipIf(!isRoot)(`a running pod that is made anew is told where the router is ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  let lab: Lab
  afterEach(() => lab[Symbol.asyncDispose]())

  const patiently = (): ReturnType<typeof ctx> => ctx(AbortSignal.timeout(60_000))
  /** What the pod believes: MACs of its router. */
  const believes = async (): Promise<Record<string, string>> => {
    const { stdout } = await exec(inNetns(lab.at(0).pod.path, ['ip', '-j', 'neigh', 'show', 'dev', 'eth0']))
    const entries = z.array(z.object({ dst: z.string(), lladdr: z.string().default('') })).parse(JSON.parse(stdout))
    return Object.fromEntries(entries.filter(({ dst }) => ROUTERS.includes(dst)).map(({ dst, lladdr }) => [dst, lladdr]))
  }
  const is = async (): Promise<Record<string, string>> => {
    const mac = (await lab.net.link(lab.bench.dpuNetns, lxcName(lab.request(0).key)))?.mac ?? 'none'
    return Object.fromEntries(ROUTERS.map((router) => [router, mac]))
  }
  const again = (had: AttachResult): Promise<AttachResult> => lab.adapter.attach({ ...lab.request(0), had }, patiently())

  /** A pod that has talked to its router, and has then lost all that Cilium had made for it. */
  const lost = async (options: Partial<FakeCiliumOptions>): Promise<AttachResult> => {
    lab = await Lab.create(1, { ranges: { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' }, ...options })
    await lab.start(await lab.splice())
    const pod = await lab.adapter.attach(lab.request(0), patiently())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', pod)
    await lab.net.apply(lab.at(0).pod.path, KEPT)
    for (const router of ROUTERS) expect(await reaches(lab.at(0).pod.path, router)).toBe(true)
    expect(await believes()).toEqual(await is())
    await lab.stop()
    await lab.proxy(0).dismantle()
    await lab.agent.forget(lab.request(0).key.containerId)
    return pod
  }

  it('where cilium-cni itself makes its interface anew, because others hand out the addresses', async () => {
    // One address only, so that it is the pod's again.
    const pod = await lost({ poolSize: 1, config: { ipamMode: 'eni' } })
    const before = await believes()
    await lab.start(await lab.splice())
    expect(await again(pod)).toEqual(pod)
    expect(await believes()).not.toEqual(before)
    expect(await believes()).toEqual(await is())
  })

  it('also when the agent of the card dies right before', async () => {
    const pod = await lost({})
    const plugin = { plugin: import.meta.resolve('../../src/index.ts'), export: 'cilium', options: await lab.splice() }
    const requests = [{ ...lab.request(0), had: pod }]
    const step = 'delegate.attach.finished'
    expect(await crashAdapter({ plugin, stateDir: lab.deps.stateDir, requests, calls: ['attach'] }, { step })).toBe(step)
    const now = await is()
    expect(await believes()).not.toEqual(now)
    await lab.start(await lab.splice())
    expect(await lab.adapter.list(ctx())).toEqual([])
    expect(await again(pod)).toEqual(pod)
    expect([await is(), await believes()], 'nothing is made anew for it').toEqual([now, now])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
  })
})
