import { type AttachResult, OffloadError, silentLogger } from '@cni-offload/sdk'
import { reaches, wirePod } from '@cni-offload/testing'
import { type FakeCiliumOptions, noDatapath } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { FastClock } from './clocks.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const RANGES = { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' }
let lab: Lab
const open = async (ports: number, options: Partial<FakeCiliumOptions> = {}): Promise<void> => {
  lab = await Lab.create(ports, { ranges: RANGES, ...options })
  await lab.start()
}
afterEach(() => lab[Symbol.asyncDispose]())

const connect = async (index: number): Promise<AttachResult> => {
  const result = await lab.adapter.attach(lab.request(index), ctx())
  await wirePod(lab.net, lab.at(index).pod.path, 'eth0', result)
  return result
}
const ipsOf = ({ ips }: AttachResult): string[] => ips.map(({ address }) => address.replace(/\/.*/, ''))
const pingAll = async (from: number, to: AttachResult): Promise<boolean[]> => {
  const netns = lab.at(from).pod.path
  return await Promise.all(ipsOf(to).map((address) => reaches(netns, address)))
}

describe.skipIf(!isRoot)(`pods outlive the agent ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it('that is away: they go on, and are there when it is back', async () => {
    await open(2)
    const [first, second] = [await connect(0), await connect(1)]
    await lab.agent.stop()
    expect(await pingAll(0, second)).not.toContain(false)
    await lab.agent.start()
    expect(await lab.adapter.list(ctx())).toHaveLength(2)
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.check({ ...lab.request(0), expected: first }, ctx())
    expect(lab.agent.count('PUT /endpoint/{id}')).toBe(2)
  })

  it('that is restarted between address and endpoint: the new pod gets other addresses, and none is lost', async () => {
    await open(2)
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', times: Number.POSITIVE_INFINITY, effect: { kind: 'answer', status: 503 } })
    const attached = connect(0)
    await expect.poll(() => lab.agent.count('PUT /endpoint/{id}'), { timeout: 60_000 }).toBeGreaterThan(0)
    await lab.agent.stop()
    await lab.agent.start()
    expect(lab.agent.allocations).toEqual({})
    // What the first one had is somebody else's by now.
    lab.agent.occupy('default/other', 1)
    lab.agent.faults.clear()
    const [first, second] = [await attached, await connect(1)]
    expect(new Set([...ipsOf(first), ...ipsOf(second)]).size).toBe(4)
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
    for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
    expect(new Set(Object.values(lab.agent.allocations))).toEqual(new Set(['default/other']))
  })

  it('that has dropped their endpoints: attached again they have the MAC and addresses that they had', async () => {
    // An agent that does not know the pods, as one that believes to be on another node, drops their endpoints when it starts.
    await open(3, { anyPod: false })
    const [first, second] = [await connect(0), await connect(1)]
    // From now on each knows the MAC of its gateway.
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first))]).not.toContain(false)
    await lab.agent.stop()
    await lab.agent.start()
    expect(lab.agent.endpoints).toEqual([])
    expect(await lab.adapter.list(ctx()), 'for the resync, they are missing').toEqual([])
    await expect(lab.adapter.check({ ...lab.request(0), expected: first }, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    // The agent would give their addresses away now.
    const third = await connect(2)
    expect(ipsOf(third).filter((ip) => [...ipsOf(first), ...ipsOf(second)].includes(ip))).toEqual([])
    expect(await lab.adapter.attach({ ...lab.request(0), had: first }, ctx())).toEqual(first)
    expect(await lab.adapter.attach(lab.request(1), ctx()), 'by what the adapter remembers').toEqual(second)
    expect(await lab.adapter.list(ctx())).toHaveLength(3)
    expect([...(await pingAll(0, second)), ...(await pingAll(1, first)), ...(await pingAll(2, first))]).not.toContain(false)
    for (const index of [0, 1, 2]) await lab.adapter.detach({ key: lab.request(index).key }, ctx())
    expect(lab.agent.allocations).toEqual({})
  })

  it('and the adapter’s memory: by what the host tells they have what they had', async () => {
    await open(2)
    const first = await connect(0)
    await lab.stop()
    await lab.proxy(0).dismantle()
    await lab.agent.forget(lab.request(0).key.containerId)
    await lab.forgetState()
    await lab.start()
    expect(await lab.adapter.attach({ ...lab.request(0), had: first }, ctx())).toEqual(first)
    expect(await pingAll(0, await connect(1))).not.toContain(false)
  })

  it('a running pod whose address somebody else has is refused, keeps its place, and loses nothing when it goes', async () => {
    await open(2, { ranges: { ipv4: '10.66.0.0/29' } })
    const first = await connect(0)
    await lab.agent.forget(lab.request(0).key.containerId)
    lab.agent.occupy('kube-system/other', 5)
    const attach = (): Promise<AttachResult> => lab.adapter.attach({ ...lab.request(0), had: first }, ctx())
    await expect(attach()).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringContaining('kube-system/other has it'),
      hint: expect.stringContaining('Restart the pod'),
    })
    expect(await lab.adapter.list(ctx())).toEqual([])
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(Object.values(lab.agent.allocations), 'those of others').toEqual(Array.from({ length: 5 }, () => 'kube-system/other'))
  })

  it('attaching a running pod again may fail midway: its addresses stay reserved, and the next attempt has them', async () => {
    await open(2)
    const first = await connect(0)
    await lab.agent.forget(lab.request(0).key.containerId)
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status: 500, body: 'no' } })
    await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
    expect(Object.keys(lab.agent.allocations).toSorted()).toEqual(ipsOf(first).toSorted())
    expect(ipsOf(await connect(1)).some((ip) => ipsOf(first).includes(ip))).toBe(false)
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(first)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    await lab.adapter.detach({ key: lab.request(1).key }, ctx())
    expect(lab.agent.allocations).toEqual({})
  })
})

describe.skipIf(!isRoot)(`deletions survive an agent that is away ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it.each(['the adapter goes on', 'the adapter is restarted'])('%s', async (title) => {
    // For this agent all devices are always there, so that it restores what it should not have any more.
    await open(1, { clock: new FastClock(50), datapath: noDatapath })
    await lab.adapter.attach(lab.request(0), ctx())
    await lab.agent.stop({ leaveSocket: true })
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.devices()).toEqual([])
    if (title.includes('restarted')) await lab.start()
    await lab.agent.start()
    const last = (): unknown => lab.agent.requests.filter(({ operation }) => operation === 'DELETE /endpoint/{id}').at(-1)?.status
    await expect.poll(() => [last(), lab.agent.endpoints.length, lab.agent.allocations], { timeout: 20_000 }).toEqual([200, 0, {}])
  })

  it.each([429, 500, 503])('also one that answers %i; and one that is made anew meanwhile stays', async (status) => {
    await open(1)
    await lab.adapter.attach(lab.request(0), ctx())
    lab.agent.faults.add({ operation: 'DELETE /endpoint/{id}', effect: { kind: 'answer', status, body: 'later' } })
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await lab.adapter.list(ctx())).toEqual([])
    const again = await lab.adapter.attach(lab.request(0), ctx())
    await expect.poll(() => lab.agent.count('DELETE /endpoint/{id}'), { timeout: 20_000 }).toBe(2)
    expect(lab.agent.endpoints).toHaveLength(1)
    await lab.adapter.check({ ...lab.request(0), expected: again }, ctx())
  })

  it('400 and 206 are the end of it', async () => {
    await open(1)
    for (const [status, body] of [
      [400, 'what'],
      [206, 3],
    ]) {
      await lab.adapter.attach(lab.request(0), ctx())
      lab.agent.faults.add({ operation: 'DELETE /endpoint/{id}', effect: { kind: 'misreport', status: Number(status), body } })
      await lab.adapter.detach({ key: lab.request(0).key }, ctx())
      expect(lab.agent.endpoints).toEqual([])
    }
    expect(lab.agent.count('DELETE /endpoint/{id}')).toBe(2)
  })

  it('a call that is given up while the agent is busy ends at once', async () => {
    await open(1, { clock: new FastClock(1) })
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', times: 1_000, effect: { kind: 'answer', status: 503, body: 'starting' } })
    const gone = new AbortController()
    const outcome = lab.adapter.attach(lab.request(0), { signal: gone.signal, log: silentLogger })
    await expect.poll(() => lab.agent.count('PUT /endpoint/{id}'), { timeout: 20_000 }).toBeGreaterThan(0)
    gone.abort(new OffloadError('DEADLINE_EXCEEDED', 'the deadline passed'))
    await expect(outcome).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: expect.stringContaining('starting') })
    expect([lab.agent.allocations, lab.agent.endpoints.length, await lab.devices()]).toEqual([{}, 0, []])
  })
})
