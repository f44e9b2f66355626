import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type CniVersion, CNI_VERSIONS, decodeResult } from '@cni-offload/sdk/cni'
import { exec, type FakePod, fakePod, inNetns, isRoot, ping, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { FakeCiliumAgent, installFakeCiliumCni, NetnsDatapath, NO_LIMITS } from '@cni-offload/testing/cilium'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

interface Outcome {
  readonly code: number
  readonly stdout: string
}

describe.skipIf(!isRoot())(`the fake cilium-cni (${ROOT_REASON})`, { timeout: 120_000 }, () => {
  let net: LinuxNet
  let dpu: TestNetns
  let folder: string
  let agent: FakeCiliumAgent
  let plugin: string
  const pods: FakePod[] = []

  const pod = async (name: string): Promise<FakePod> => {
    const made = await fakePod({ net, name })
    pods.push(made)
    return made
  }
  /** As a runtime starts it: with nothing in its environment but what CNI asks for. */
  const run = async (verb: string, at?: FakePod, conf: object = {}, env: Record<string, string> = {}): Promise<Outcome> =>
    await exec(inNetns(dpu.path, [plugin]), {
      timeoutMs: 60_000,
      input: JSON.stringify({ cniVersion: '1.0.0', name: 'cilium', type: 'cilium-cni', ...conf }),
      env: {
        ...{ CNI_COMMAND: verb, CNI_PATH: dirname(plugin), CILIUM_SOCK: join(folder, 'cilium.sock') },
        ...(at === undefined ? {} : { CNI_CONTAINERID: at.containerId, CNI_NETNS: at.path, CNI_IFNAME: 'eth0' }),
        ...(at === undefined ? {} : { CNI_ARGS: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${at.identity.name}` }),
        ...env,
      },
    })
  const refused = async (code: number, message: RegExp, ...call: Parameters<typeof run>): Promise<void> => {
    const { code: exit, stdout } = await run(...call)
    expect(exit).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ code, msg: expect.stringMatching(message) })
  }

  beforeAll(async () => {
    net = createLinuxNet()
    dpu = await TestNetns.create(net, 'dpu')
    folder = await mkdtemp(join(tmpdir(), 'cni-'))
    plugin = await installFakeCiliumCni(join(folder, 'bin'))
    agent = await FakeCiliumAgent.start({
      socket: join(folder, 'cilium.sock'),
      limits: NO_LIMITS,
      anyPod: true,
      datapath: new NetnsDatapath(net, dpu.path),
      ranges: { ipv4: '10.0.0.0/24', ipv6: 'fd00:10::/64' },
      config: { deviceMtu: 1480, routeMtu: 1400 },
    })
  })
  afterAll(async () => {
    for (const one of pods.splice(0)) await one[Symbol.asyncDispose]()
    await agent?.[Symbol.asyncDispose]()
    await dpu?.[Symbol.asyncDispose]()
    await net?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it.each(CNI_VERSIONS)(
    'gives a result of version %s that says what it has made, and takes all of it back',
    async (cniVersion: CniVersion) => {
      const one = await pod('one')
      const { code, stdout } = await run('ADD', one, { cniVersion })
      expect(code, stdout).toBe(0)
      const printed = JSON.parse(stdout) as object
      expect(printed).toMatchObject({ cniVersion })
      const { interfaces, ips, routes } = decodeResult(printed, cniVersion)
      expect(await net.addresses(one.path, 'eth0')).toEqual(expect.arrayContaining(ips.map(({ address }) => address)))
      expect(ips).toHaveLength(2)
      expect(routes.map(({ dst }) => dst)).toEqual(expect.arrayContaining(['0.0.0.0/0', '::/0']))
      const [host, inside] = [
        await net.link(dpu.path, agent.endpoints[0]?.request['interface-name'] ?? ''),
        await net.link(one.path, 'eth0'),
      ]
      expect(host).toMatchObject({ up: true, mtu: 1480 })
      expect(inside).toMatchObject({ up: true, mtu: 1480 })
      if (interfaces.length > 0) expect(interfaces.map(({ mac }) => mac)).toEqual([host?.mac, inside?.mac])
      expect((await run('DEL', one, { cniVersion })).code).toBe(0)
      expect([agent.endpoints, agent.allocations, await net.link(one.path, 'eth0')]).toEqual([[], {}, undefined])
      expect((await run('DEL', one, { cniVersion })).code).toBe(0)
    },
  )

  it('checks what it has made, and says what is not as it was', async () => {
    const one = await pod('checked')
    const prevResult: unknown = JSON.parse((await run('ADD', one)).stdout)
    const check = ['CHECK', one, { prevResult }] as const
    expect((await ping(one.path, '10.0.0.1')).received).toBe(3)
    expect(await run(...check)).toMatchObject({ code: 0, stdout: '' })
    await net.apply(one.path, [{ op: 'addr.flush', dev: 'eth0' }])
    await refused(999, /^expected IP \S+ not found on interface eth0$/, ...check)
    await net.apply(one.path, [{ op: 'link.del', dev: 'eth0' }])
    await refused(999, /^cannot find container link eth0$/, ...check)
    expect((await run('DEL', one)).code).toBe(0)
    await refused(100, /^failed to retrieve container health: .*\[404\]/, ...check)
  })

  it('undoes what fails, and a DEL does without the namespace', async () => {
    const one = await pod('undone')
    agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status: 500, body: 'why not' } })
    await refused(999, /^unable to create endpoint: \[PUT \/endpoint\/\{id\}\]\[500\] why not$/, 'ADD', one)
    const devices = (await net.links(dpu.path)).filter(({ name }) => name.startsWith('lxc'))
    expect([agent.allocations, await net.link(one.path, 'eth0'), devices]).toEqual([{}, undefined, []])
    expect((await run('ADD', one)).code).toBe(0)
    for (const netns of ['', '/run/netns/of-nobody']) expect((await run('DEL', one, {}, { CNI_NETNS: netns })).code).toBe(0)
    expect(agent.endpoints).toEqual([])
  })

  it('refuses what is not as the specification has it', async () => {
    const one = await pod('refused')
    await refused(999, /^unknown CNI_COMMAND: NONSENSE$/, 'NONSENSE')
    await refused(999, /^required env variables \[CNI_NETNS\] missing$/, 'ADD', one, {}, { CNI_NETNS: '' })
    await refused(999, /^incompatible CNI versions; config is "0\.9\.0"/, 'ADD', one, { cniVersion: '0.9.0' })
    await refused(999, /^cniVersion = 1 is not a text$/, 'ADD', one, { cniVersion: 1 })
    await refused(999, /^unable to chain: prevResult without chaining-mode$/, 'ADD', one, { prevResult: {} })
    expect(JSON.parse((await run('VERSION')).stdout)).toEqual({ cniVersion: '1.1.0', supportedVersions: CNI_VERSIONS })
  })

  it('says what is the matter with the agent', async () => {
    const one = await pod('waits')
    expect((await run('STATUS')).code).toBe(0)
    const nobody = { CILIUM_SOCK: join(folder, 'nobody.sock') }
    await refused(999, /^unable to connect to Cilium agent: /, 'ADD', one, {}, nobody)
    await refused(11, /^unable to connect to Cilium agent: /, 'CHECK', one, {}, nobody)
    await refused(50, /^unable to connect to Cilium agent: /, 'STATUS', undefined, {}, nobody)
    agent.faults.add({ operation: 'POST /ipam', effect: { kind: 'cut', when: 'before' } })
    await refused(
      999,
      /^unable to allocate IP via local cilium agent: Post "http:\/\/localhost\/v1\/ipam\S*": (EOF|read unix .* reset by peer)$/,
      'ADD',
      one,
    )
    expect([agent.allocations, agent.endpoints]).toEqual([{}, []])
  })
})
