import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type FakePod, fakePod, isRoot, ping, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { CILIUM_VERSIONS, FakeCiliumAgent, type FakeCiliumOptions, NetnsDatapath, NO_LIMITS } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RealPlugin } from './real-plugin.ts'

const BINARY = process.env['CILIUM_CNI'] ?? ''
const NEEDS = `${ROOT_REASON}, and CILIUM_CNI with the path of a cilium-cni: go build ./plugins/cilium-cni in Cilium's sources`

describe.skipIf(!isRoot() || BINARY === '')(`the real cilium-cni takes the fake for its agent (${NEEDS})`, { timeout: 120_000 }, () => {
  let net: LinuxNet
  let dpu: TestNetns
  let folder: string
  let agent: FakeCiliumAgent
  let plugin: RealPlugin
  const pods: FakePod[] = []

  const start = async (options: Partial<FakeCiliumOptions> = {}): Promise<void> => {
    agent = await FakeCiliumAgent.start({
      socket: join(folder, 'cilium.sock'),
      limits: NO_LIMITS,
      anyPod: true,
      datapath: new NetnsDatapath(net, dpu.path),
      ranges: { ipv4: '10.0.0.0/29', ipv6: 'fd00:10::/64' },
      ...options,
    })
  }
  const pod = async (name: string): Promise<FakePod> => {
    const made = await fakePod({ net, name })
    pods.push(made)
    return made
  }
  const devices = async (): Promise<string[]> =>
    (await net.links(dpu.path)).map(({ name }) => name).filter((name) => name.startsWith('lxc') || name.startsWith('tmp'))
  const left = async (): Promise<unknown> => [agent.allocations, agent.endpoints.length, await devices()]

  beforeEach(async () => {
    net = createLinuxNet()
    dpu = await TestNetns.create(net, 'dpu')
    folder = await mkdtemp(join(tmpdir(), 'plugin-'))
    plugin = await RealPlugin.create(BINARY, dpu, join(folder, 'cilium.sock'), folder)
  })
  afterEach(async () => {
    for (const one of pods.splice(0)) await one[Symbol.asyncDispose]()
    await agent[Symbol.asyncDispose]()
    await dpu[Symbol.asyncDispose]()
    await net[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it.each(CILIUM_VERSIONS)('%s: pods reach each other, are checked and removed', async (version) => {
    await start({ version })
    const [a, b] = [await pod('a'), await pod('b')]
    const added = await plugin.run('ADD', a)
    expect(added).toMatchObject({ code: 0, result: { ips: expect.arrayContaining([expect.objectContaining({ address: '10.0.0.2/32' })]) } })
    expect((await plugin.run('ADD', b)).code).toBe(0)
    for (const ip of ['10.0.0.3', 'fd00:10::3']) expect((await ping(a.path, ip)).received, ip).toBe(3)
    const check = (): Promise<unknown> => plugin.run('CHECK', a, { prevResult: added.result })
    expect(await check()).toEqual({ code: 0, result: undefined })
    for (const one of [a, b, a]) expect(await plugin.run('DEL', one)).toEqual({ code: 0, result: undefined })
    expect(await check()).toMatchObject({ code: 1, result: { code: 100, details: expect.stringContaining('[404]') } })
    expect(await left()).toEqual([{}, 0, []])
    expect(await plugin.queued()).toEqual([])
  })

  it.each([
    ['POST /ipam', 502, 'range is full'],
    ['POST /ipam', 403, undefined],
    ['PUT /endpoint/{id}', 400, 'why not'],
    ['PUT /endpoint/{id}', 429, 'request would have to wait'],
    ['PUT /endpoint/{id}', 500, 'timeout'],
    ['PUT /endpoint/{id}', 503, 'api not ready'],
  ] as const)(
    '%s %i: the pod is not added, and nothing is left but the device that releases before 1.18 leave',
    async (operation, status, body) => {
      await start()
      agent.faults.add({ operation, effect: { kind: 'answer', status, body } })
      const a = await pod('a')
      // A status that its release does not declare is written in another way.
      const told = expect.stringMatching(new RegExp(`\\[${status}\\]|status ${status}`))
      expect(await plugin.run('ADD', a)).toMatchObject({ code: 1, result: { code: 999, msg: told } })
      const stays = operation === 'PUT /endpoint/{id}' && !(await plugin.isNew(a)) ? [expect.stringMatching(/^lxc/)] : []
      expect(await left()).toEqual([{}, 0, stays])
    },
  )

  it.each([
    ['POST /ipam', /^unable to allocate IP via local cilium agent: Post "http:\/\/localhost\/v1\/ipam\S*": EOF/],
    ['PUT /endpoint/{id}', /^unable to create endpoint: Put "http:\/\/localhost\/v1\/endpoint\/cilium-local:0": EOF/],
  ] as const)('an agent that is killed in the middle of %s: the ADD says how it lost it', async (operation, words) => {
    await start()
    agent.faults.add({ operation, effect: { kind: 'cut', when: 'before' } })
    expect(await plugin.run('ADD', await pod('a'))).toMatchObject({ code: 1, result: { code: 999, msg: expect.stringMatching(words) } })
  })

  it('an agent that is killed in between: the ADD says that nobody listens', async () => {
    await start()
    const added = plugin.run('ADD', await pod('a'))
    await expect.poll(() => agent.count('POST /ipam'), { timeout: 30_000, interval: 1 }).toBe(1)
    await agent.stop({ leaveSocket: true })
    const words =
      /^unable to create endpoint: Put "http:\/\/localhost\/v1\/endpoint\/cilium-local:0": dial unix \S+: connect: connection refused/
    expect((await added).result).toMatchObject({ code: 999, msg: expect.stringMatching(words) })
  })

  it('a second ADD is refused after it has taken the device of the first, whose endpoint stays', async () => {
    await start()
    const a = await pod('a')
    expect((await plugin.run('ADD', a)).code).toBe(0)
    expect((await plugin.run('ADD', a)).result?.msg).toContain(`endpoint for CNI attachment ID ${a.containerId}:eth0 already exists`)
    expect([agent.allocations, agent.endpoints.length]).toEqual([expect.objectContaining({ '10.0.0.2': 'default/a' }), 1])
    const second = (await plugin.isNew(a)) ? [] : [expect.stringMatching(/^lxc/)]
    expect(await devices()).toEqual(second)
  })

  it('what the pool does not have is told, and nothing is left of it', async () => {
    await start({ ranges: { ipv4: '10.0.0.0/29' } })
    agent.occupy('others', 5)
    expect((await plugin.run('ADD', await pod('a'))).result?.msg).toContain('[502]')
    expect([agent.endpoints, await devices()]).toEqual([[], []])
  })

  it('a deletion that the agent cannot make now is left for later', async () => {
    await start()
    const a = await pod('a')
    expect((await plugin.run('ADD', a)).code).toBe(0)
    // Releases differ in which they ask for; older ones take 503 for a failure like others, which they do not repeat.
    for (const operation of ['DELETE /endpoint', 'DELETE /endpoint/{id}'] as const)
      agent.faults.add({ operation, times: 2, effect: { kind: 'answer', status: 503, body: 'api not ready' } })
    expect((await plugin.run('DEL', a)).code).toBe(0)
    expect(await plugin.queued()).toEqual((await plugin.isNew(a)) ? [expect.stringContaining(a.containerId)] : [])
    expect([agent.endpoints.length, await devices()]).toEqual([1, []])
  })
})
