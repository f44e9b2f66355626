import { readFile } from 'node:fs/promises'
import { type AttachResult, OffloadError, silentLogger } from '@cni-offload/sdk'
import { exec, inNetns, reaches, wirePod } from '@cni-offload/testing'
import { type FakeCiliumOptions, noDatapath } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { FastClock } from '../clocks.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT, REAL_CILIUM_CNI } from '../lab.ts'

const RANGES = { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' }
let lab: Lab
const open = async (ports: number, options: Partial<FakeCiliumOptions> = {}): Promise<void> => {
  lab = await Lab.create(ports, { ranges: RANGES, ...options })
  await lab.start(await lab.splice())
}
afterEach(() => lab[Symbol.asyncDispose]())

const patiently = (): ReturnType<typeof ctx> => ctx(AbortSignal.timeout(60_000))
const connect = async (index: number): Promise<AttachResult> => {
  const result = await lab.adapter.attach(lab.request(index), patiently())
  await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
  return result
}
const ipsOf = ({ ips }: AttachResult): string[] => ips.map(({ address }) => address.replace(/\/.*/, ''))
const pingAll = async (from: number, to: AttachResult): Promise<boolean[]> =>
  await Promise.all(ipsOf(to).map((address) => reaches(lab.at(from).pod.path, address)))

describe.skipIf(!isRoot)(`what the stock cilium-cni makes, spliced to ports ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  it('is the network of the pods, MAC, MTU, routes and reserved ports as it made them', async () => {
    // A namespace may have only those that its kernel allows to everybody.
    const cubic = (await readFile('/proc/sys/net/ipv4/tcp_allowed_congestion_control', 'utf8')).split(/\s/).includes('cubic')
    await open(2, { config: { deviceMtu: 1480, routeMtu: 1400, ipLocalReservedPorts: '8472', bbrHostNamespaceOnly: cubic } })
    const [first, second] = [await connect(0), await connect(1)]
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
    expect(first).toMatchObject({
      mtu: 1480,
      ips: expect.arrayContaining([
        { address: '10.66.0.2/32', gateway: '10.66.0.1' },
        { address: 'fd66::2/128', gateway: 'fd66::1' },
      ]),
      routes: expect.arrayContaining([
        expect.objectContaining({ dst: '10.66.0.1/32' }),
        { dst: '0.0.0.0/0', gw: '10.66.0.1', mtu: 1400 },
        expect.objectContaining({ dst: '::/0', gw: 'fd66::1', mtu: 1400 }),
      ]),
    })
    const settings = { ip_local_reserved_ports: '8472', tcp_base_mss: '1024', tcp_mtu_probe_floor: '48', tcp_mtu_probing: '1' }
    for (const [name, value] of Object.entries({ ...settings, ...(cubic ? { tcp_congestion_control: 'cubic' } : {}) })) {
      const there = ['sysctl', '-n', `net.ipv4.${name}`]
      // A real plugin makes only those that its own release knows, which may be older than that of the agent.
      for (const netns of [...(REAL_CILIUM_CNI === undefined ? [lab.proxy(0).path] : []), lab.at(0).pod.path])
        expect((await exec(inNetns(netns, there))).stdout.trim(), `${name} in ${netns}`).toBe(value)
    }
    const inside = await lab.net.link(lab.proxy(0).path, 'eth0')
    expect(inside?.mac).toBe(first.mac)
    await lab.adapter.check({ ...lab.request(0), expected: first }, ctx())
    expect(await lab.adapter.list(ctx())).toHaveLength(2)
    for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
    expect([lab.agent.endpoints, lab.agent.allocations, await lab.devices()]).toEqual([[], {}, []])
  })

  it('waits for an agent that is only busy, and for one that has an endpoint of an ADD that nobody remembers', async () => {
    await open(1, { clock: new FastClock(50) })
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', times: 2, effect: { kind: 'answer', status: 429, body: 'too many' } })
    await lab.adapter.attach(lab.request(0), patiently())
    expect(lab.agent.requests.filter(({ status }) => status === 429)).toHaveLength(2)
    await lab.stop()
    await lab.forgetState()
    await lab.proxy(0).dismantle()
    await lab.start(await lab.splice())
    const [left] = lab.agent.endpoints
    await lab.adapter.attach(lab.request(0), patiently())
    expect(lab.agent.endpoints).toHaveLength(1)
    expect(lab.agent.endpoints[0]?.mac).not.toBe(left?.mac)
  })

  it('an address pool that is used up is told as what it is, and nothing is left', async () => {
    await open(1)
    lab.agent.occupy('kube-system/others', 5)
    const before = lab.agent.allocations
    await expect(lab.adapter.attach(lab.request(0), patiently())).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect([lab.agent.allocations, lab.agent.endpoints, await lab.devices()]).toEqual([before, [], []])
  })
})

describe.skipIf(!isRoot)(`pods that cilium-cni has made outlive ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  it('an agent that is away: CHECK says so without taking it for damage', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    await lab.agent.stop()
    expect(await pingAll(0, second)).not.toContain(false)
    await expect(lab.adapter.check({ ...lab.request(0), expected: first }, ctx())).rejects.toMatchObject({ code: 'NOT_READY' })
    await lab.agent.start()
    expect(await lab.adapter.attach(lab.request(0), patiently())).toEqual(first)
    expect(lab.agent.count('PUT /endpoint/{id}'), 'nothing was made anew').toBe(2)
  })

  it('an agent that has dropped their endpoints: they get them back under the pod, and nobody else gets their addresses', async () => {
    await open(3, { anyPod: false })
    const [first, second] = [await connect(0), await connect(1)]
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
    const devices = async (): Promise<unknown> => {
      const links = await lab.net.links(lab.bench.dpuNetns)
      return links.filter(({ name }) => name.startsWith('lxc')).map(({ name, index, mac }) => ({ name, index, mac }))
    }
    const before = await devices()
    await lab.agent.stop()
    await lab.agent.start()
    expect([lab.agent.endpoints, await lab.adapter.list(ctx())]).toEqual([[], []])
    await expect(lab.adapter.check({ ...lab.request(0), expected: first }, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    // The agent gives their addresses away now, and the plugin takes whatever comes.
    const third = await connect(2)
    expect(ipsOf(third).filter((ip) => [...ipsOf(first), ...ipsOf(second)].includes(ip))).toEqual([])
    await lab.adapter.detach({ key: lab.request(2).key }, ctx())
    expect(await lab.adapter.attach({ ...lab.request(0), had: first }, patiently())).toEqual(first)
    expect(await lab.adapter.attach(lab.request(1), patiently()), 'by what the adapter remembers').toEqual(second)
    expect(await devices(), 'the devices are those that there were').toEqual(before)
    expect(await lab.adapter.list(ctx())).toHaveLength(2)
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
    for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
    expect([lab.agent.allocations, lab.agent.endpoints]).toEqual([{}, []])
  })

  it.each(['kept', 'lost'])(
    'the DPU with its devices, the adapter’s memory %s: they have what they had, and find their gateway',
    async (memory) => {
      await open(2)
      const [first, second] = [await connect(0), await connect(1)]
      // From now on each knows the MAC of its gateway, which is another one afterwards.
      expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
      await lab.stop()
      for (const index of [0, 1]) {
        await lab.proxy(index).dismantle()
        await lab.agent.forget(lab.request(index).key.containerId)
      }
      if (memory === 'lost') await lab.forgetState()
      await lab.start(await lab.splice())
      expect(await lab.adapter.attach({ ...lab.request(0), had: first }, patiently())).toEqual(first)
      expect(await lab.adapter.attach({ ...lab.request(1), had: second }, patiently())).toEqual(second)
      expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
      await lab.adapter.check({ ...lab.request(0), expected: first }, ctx())
      for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
      expect([lab.agent.allocations, lab.agent.endpoints, await lab.devices()]).toEqual([{}, [], []])
    },
  )
})

describe.skipIf(!isRoot)(`deletions that cilium-cni could not do ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  it.each(['goes on', 'is restarted'])('are done when the agent is back, the adapter %s', async (adapter) => {
    // For this agent all devices are always there, so that it restores what it should not have any more.
    await open(1, { clock: new FastClock(50), datapath: noDatapath })
    await lab.adapter.attach(lab.request(0), patiently())
    await lab.agent.stop({ leaveSocket: true })
    await lab.adapter.detach({ key: lab.request(0).key }, patiently())
    expect(await lab.devices()).toEqual([])
    if (adapter === 'is restarted') await lab.start(await lab.splice())
    await lab.agent.start()
    await expect.poll(() => [lab.agent.endpoints.length, lab.agent.allocations], { timeout: 40_000 }).toEqual([0, {}])
  })

  it('also of an endpoint that appears after its ADD was given up', async () => {
    await open(1, { clock: new FastClock(50), buildMs: 60_000, datapath: noDatapath })
    const gone = new AbortController()
    const outcome = lab.adapter.attach(lab.request(0), { signal: gone.signal, log: silentLogger })
    await expect.poll(() => lab.agent.endpoints.length, { timeout: 40_000 }).toBe(1)
    gone.abort(new OffloadError('DEADLINE_EXCEEDED', 'the deadline passed'))
    await expect(outcome).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    await expect.poll(() => [lab.agent.endpoints.length, lab.agent.allocations], { timeout: 40_000 }).toEqual([0, {}])
    expect(await lab.devices()).toEqual([])
  })
})
