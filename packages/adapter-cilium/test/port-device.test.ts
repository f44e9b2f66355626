import type { Link } from '@cni-offload/linux'
import { PORT_IN_PROXY } from '@cni-offload/linux/splice'
import { type AttachResult, OffloadError } from '@cni-offload/sdk'
import { reaches, wirePod } from '@cni-offload/testing'
import { type CiliumVersion, FakeCiliumAgent, type FakeCiliumOptions, NetnsDatapath, NO_LIMITS } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import type { CiliumOptionsInput } from '../src/index.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const RANGES = { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' }
const ALIAS = 'the alias of whoever made the port'
let lab: Lab
let agent: FakeCiliumAgent | undefined

const open = async (ports: number, options: Partial<FakeCiliumOptions> = {}, more: CiliumOptionsInput = {}): Promise<void> => {
  lab = await Lab.create(ports, { ranges: RANGES, version: '1.19.4', config: { hostRouting: 'Legacy', deviceMtu: 1440 }, ...options })
  for (const { port, dpuNetns } of lab.bench.ports) await lab.net.apply(dpuNetns, [{ op: 'link.set', dev: port.name, alias: ALIAS }])
  await lab.start({ ...lab.overPorts, ...more })
}
afterEach(async () => {
  await agent?.[Symbol.asyncDispose]()
  agent = undefined
  await lab[Symbol.asyncDispose]()
})

const connect = async (index: number): Promise<AttachResult> => {
  const result = await lab.adapter.attach(lab.request(index), ctx())
  await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
  return result
}
const pingAll = async (from: number, { ips }: AttachResult): Promise<boolean[]> =>
  await Promise.all(ips.map(({ address }) => reaches(lab.at(from).pod.path, address.replace(/\/.*/, ''))))
const port = async (index: number): Promise<Link | undefined> => await lab.net.link(lab.bench.dpuNetns, lab.at(index).port.name)
const PRISTINE = { up: false, mtu: 1500, alias: ALIAS }

/** Ports that are virtual functions, which have no kind. */
const vfs = (): NetnsDatapath => {
  const datapath = new NetnsDatapath(lab.net, lab.bench.dpuNetns)
  const link = datapath.link.bind(datapath)
  datapath.link = async (device) => {
    const found = await link(device)
    return found === undefined || device.startsWith('lxc') ? found : { ...found, kind: '' }
  }
  return datapath
}
const upgraded = (version: CiliumVersion): FakeCiliumAgent => {
  agent = new FakeCiliumAgent({ socket: lab.agent.socket, version, datapath: vfs(), anyPod: true, limits: NO_LIMITS, ranges: RANGES })
  return agent
}

describe.skipIf(!isRoot)(`endpoints over ports ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it('reach each other, and leave the ports as they were', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).toEqual([true, true, true, true])
    const used = await port(0)
    expect(lab.agent.endpoints[0]?.request).toMatchObject({
      'interface-name': used?.name,
      'interface-index': used?.index,
      'host-mac': used?.mac,
      mac: lab.at(0).vfMac,
    })
    expect([used?.mtu, await lab.devices(), await lab.proxy(0).links()]).toEqual([1440, [], undefined])
    expect(await lab.net.addresses(lab.bench.dpuNetns, used?.name ?? '', { linkLocal: true })).not.toContainEqual(
      expect.stringMatching(/^fe80/),
    )
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await port(0)).toMatchObject({ ...PRISTINE, mac: used?.mac })
    expect((await port(1))?.up).toBe(true)
    expect(Object.keys(lab.agent.allocations)).toHaveLength(2)
  })

  it('are down until the agent has its programs in place', async () => {
    await open(1)
    const states: unknown[] = []
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'hang' } })
    const gone = new AbortController()
    const outcome = lab.adapter.attach(lab.request(0), { ...ctx(), signal: gone.signal }).catch((error: unknown) => error)
    await expect.poll(() => lab.agent.count('PUT /endpoint/{id}'), { timeout: 60_000 }).toBe(1)
    states.push((await port(0))?.up)
    gone.abort(new OffloadError('CANCELLED', 'the caller gave up'))
    expect(await outcome).toMatchObject({ code: 'CANCELLED' })
    expect(states).toEqual([false])
    expect(await port(0)).toMatchObject(PRISTINE)
  })

  it('are made again, with what the pod has, after somebody took the port down', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.set', dev: lab.at(0).port.name, up: false }])
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(1).key])
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).toEqual([true, true, true, true])
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await port(0), 'as it was before the first of both attaches').toMatchObject(PRISTINE)
  })

  it('refuse a port that another attachment or another adapter has', async () => {
    await open(1)
    await connect(0)
    const other = lab.request(0, { key: { ...lab.request(0).key, containerId: 'other' } })
    await expect(lab.adapter.attach(other, ctx())).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await lab.stop()
    await lab.forgetState()
    await lab.start(lab.overPorts)
    await expect(lab.adapter.attach(other, ctx()), 'by the note alone').rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await port(0)).toMatchObject(PRISTINE)
    await lab.net.apply(lab.bench.dpuNetns, [
      { op: 'link.add-bridge', dev: 'br0' },
      { op: 'link.set', dev: lab.at(0).port.name, master: 'br0' },
    ])
    await expect(lab.adapter.attach(other, ctx())).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      hint: expect.stringContaining('adapter'),
    })
  })

  it('are given up for veth pairs, and the other way round, when the option is changed', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    for (const options of [lab.agentApi, lab.overPorts]) {
      await lab.start(options)
      const found = (await lab.proxy(0).links())?.find(({ name }) => name === PORT_IN_PROXY) ?? (await port(0))
      expect(found, 'for the next one it is as it was').toMatchObject(PRISTINE)
      expect(await lab.adapter.list(ctx())).toEqual([])
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
      expect(await lab.adapter.attach(lab.request(1), ctx())).toEqual(second)
      expect(await lab.adapter.list(ctx())).toHaveLength(2)
      // Pods that are up learn the MAC of their gateway anew only after a while.
      for (const index of [0, 1])
        await lab.net.apply(lab.at(index).pod.path, [
          { op: 'link.set', dev: 'eth0', up: false },
          { op: 'addr.flush', dev: 'eth0' },
        ])
      await wirePod(lab.net, lab.at(0).pod.path, 'eth0', first)
      await wirePod(lab.net, lab.at(1).pod.path, 'eth0', second)
      expect(await pingAll(0, second)).toEqual([true, true])
    }
    expect(await lab.devices()).toEqual([])
    for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
    expect(await port(0)).toMatchObject(PRISTINE)
  })
})

describe.skipIf(!isRoot)(`an agent with endpoints over ports that is restarted ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it('keeps them as 1.19, and does not start as 1.20, which is why that is refused', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    await lab.agent.stop()
    await upgraded('1.19.4').start()
    expect(agent?.endpoints).toHaveLength(2)
    expect(await pingAll(0, second)).toEqual([true, true])
    await agent?.stop()
    await expect(upgraded('1.20.2').start()).rejects.toMatchObject({ message: expect.stringContaining('incompatible datapath-modes') })
    expect(await pingAll(1, first), 'pods go on').toEqual([true, true])
  })
})

describe.skipIf(!isRoot)(`an agent that endpoints over ports cannot be given to ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  const cases: readonly (readonly [string, Partial<FakeCiliumOptions>, RegExp, RegExp])[] = [
    ['does not start with them', { version: '1.20.2' }, /version = 1\.20\.2.*do not start/, /device: veth/],
    [
      'loses packets to them',
      { config: { hostRouting: 'BPF' } },
      /intra-host-routing-mode = BPF.*drops them/,
      /device: veth.*bpf\.hostLegacyRouting=true/,
    ],
  ]
  it.each(cases)('because it %s: refused with value and remedy, and nothing is touched', async (_title, options, message, hint) => {
    await open(1, options)
    const failure = { message: expect.stringMatching(message), hint: expect.stringMatching(hint) }
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ code: 'INVALID_CONFIG', ...failure })
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject({ code: 'NOT_READY', ...failure })
    expect([await port(0), lab.agent.allocations]).toMatchObject([PRISTINE, {}])
    await lab.start({ device: 'veth' } as CiliumOptionsInput)
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toHaveLength(2)
  })
})
