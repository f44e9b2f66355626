import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { type FakePod, isRoot, ROOT_REASON } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventually, HostLab } from '../support/lab.ts'
import { ScriptedIpam } from './scripted-ipam.ts'

const GIVEN = {
  cniVersion: '1.0.0',
  ips: [{ address: '10.5.0.7/16', gateway: '10.5.0.1' }, { address: 'fd05::7/64' }],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '10.9.0.0/16', gw: '10.5.0.9' }],
  dns: { nameservers: ['10.5.0.53'] },
}

/** What the agent is to be told of it. */
const HOST_IPAM = {
  ips: GIVEN.ips,
  routes: [
    { dst: '0.0.0.0/0', gw: '10.5.0.1' },
    { dst: '10.9.0.0/16', gw: '10.5.0.9' },
  ],
  dns: GIVEN.dns,
}

const TIMEOUT = 120_000

describe.skipIf(!isRoot())(`addresses of an IPAM plugin on the host (${ROOT_REASON})`, { timeout: TIMEOUT }, () => {
  let dir: string
  let lab: HostLab
  let plugin: ScriptedIpam

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'host-ipam-'))
    plugin = await ScriptedIpam.make(dir, GIVEN)
    lab = await HostLab.start({ vfs: 2 })
  }, TIMEOUT)
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })
  afterEach(async () => {
    await plugin.mend()
    lab.agent.before = () => {}
    lab.agent.result = {}
    lab.agent.become('ready')
    await eventually(async () => (await leftOver()).length === 0, `all is given back: ${(await leftOver()).join()}`)
    await plugin.give(GIVEN)
    await plugin.calls()
  }, TIMEOUT)

  const leftOver = async (): Promise<string[]> => {
    const { ipam } = await lab.inspect()
    return [
      ...(await lab.remains()),
      ...ipam.map(({ key, phase, failure }) => `lease ${key.containerId} ${phase} ${failure ?? ''}`),
      ...(await plugin.held()).map((name) => `address of ${name}`),
    ]
  }

  const netconf = (more: object = {}): object => ({ cniVersion: '1.0.0', hostIPAM: true, ipam: { type: 'scripted', range: 'a' }, ...more })
  const env = (more: Record<string, string> = {}): Record<string, string> => ({ CNI_PATH: `${plugin.binDir}:/nonexistent`, ...more })
  const call = (verb: string, pod: FakePod, conf: object = netconf(), more = env()): ReturnType<HostLab['call']> =>
    lab.call(verb, pod, { netconf: conf, env: more, deadlineMs: 60_000 })
  const add = async (pod: FakePod, conf = netconf()): Promise<Record<string, any>> => {
    const answer = await call('ADD', pod, conf)
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    return JSON.parse(answer.output) as Record<string, any>
  }
  const error = async (answer: ReturnType<HostLab['call']>): Promise<Record<string, any>> => {
    const { exitCode, output } = await answer
    expect(exitCode, output).toBe(1)
    return JSON.parse(output) as Record<string, any>
  }

  it('are asked for before the agent, told to it, and are what the pod has', async () => {
    await using pod = await lab.pod()
    const result = await add(pod)
    expect(lab.agent.attachments.values().toArray().at(-1)?.hostIpam).toEqual(HOST_IPAM)
    expect(await lab.net.addresses(pod.path, 'eth0')).toEqual(expect.arrayContaining(['10.5.0.7/16', 'fd05::7/64']))
    expect(result).toMatchObject({ ips: GIVEN.ips.map((ip) => ({ ...ip, interface: 0 })), routes: HOST_IPAM.routes, dns: GIVEN.dns })
    expect((await lab.inspect()).ipam).toMatchObject([{ phase: 'added', plugin: 'scripted', ips: ['10.5.0.7/16', 'fd05::7/64'] }])
    const answer = await call('CHECK', pod, netconf({ prevResult: result }))
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('the plugin gets the variables and the configuration that we get', async () => {
    await using pod = await lab.pod()
    const before = { cniVersion: '1.0.0', interfaces: [], ips: [{ address: '10.6.0.1/24' }] }
    const conf = netconf({ custom: [1, { a: 2 }], prevResult: before })
    const result = await add(pod, conf)
    const told = { ...conf, name: 'podnet', type: 'offload-cni' }
    const [asked] = await plugin.calls('ADD')
    expect(asked?.conf).toEqual(told)
    expect(asked?.env).toMatchObject({
      CNI_CONTAINERID: pod.containerId,
      CNI_NETNS: pod.path,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: expect.stringMatching(/^IgnoreUnknown=1;K8S_POD_NAMESPACE=/),
      CNI_PATH: env()['CNI_PATH'],
    })
    await call('CHECK', pod, { ...conf, prevResult: result })
    expect((await plugin.calls('CHECK'))[0]?.conf).toEqual({ ...told, prevResult: result })
    await call('DEL', pod, { ...conf, prevResult: result })
    const [ended] = await plugin.calls('DEL')
    expect(ended?.conf).toEqual({ ...told, prevResult: result })
    expect(ended?.env).toMatchObject({ CNI_NETNS: pod.path, CNI_PATH: env()['CNI_PATH'] })
  })

  it('DEL needs no configuration but that of the ADD, and no namespace', async () => {
    const pod = await lab.pod()
    await add(pod)
    await pod[Symbol.asyncDispose]()
    expect(
      await call('DEL', pod, { cniVersion: '1.0.0', ipam: { type: 'other' } }, { CNI_PATH: '/nonexistent', CNI_NETNS: '' }),
    ).toMatchObject({
      exitCode: 0,
    })
    const [ended] = await plugin.calls('DEL')
    expect(ended).toMatchObject({ conf: { ipam: { type: 'scripted', range: 'a' } }, env: { CNI_NETNS: '' } })
    expect(ended?.conf).not.toHaveProperty('prevResult')
    // A second one finds nothing.
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(await plugin.calls('DEL')).toEqual([])
  })

  it.each([
    [{ hostIPAM: 'yes' }, 7, /hostIPAM = "yes"/],
    [{ hostIPAM: true, ipam: undefined }, 7, /ipam is missing/],
    [{ hostIPAM: true, ipam: {} }, 7, /ipam.type is missing/],
    [{ hostIPAM: true, ipam: { type: '../evil' } }, 7, /ipam.type = "..\/evil"/],
    [{ hostIPAM: true, ipam: { type: 'none' } }, 7, /ipam.type = "none": plugin "none" is in none of/],
  ])('%j is refused before anything is done', async (more, code, msg) => {
    await using pod = await lab.pod()
    expect(await error(call('ADD', pod, netconf(more)))).toMatchObject({ code, msg: expect.stringMatching(msg) })
    expect(await plugin.calls()).toEqual([])
    expect(lab.agent.calls.filter((name) => name === 'attach' || name === 'detach').length % 2).toBe(0)
    expect(await leftOver()).toEqual([])
  })

  it('an error of the plugin is passed on, and nothing is left, nor was the agent asked', async () => {
    await using pod = await lab.pod()
    await plugin.fail('ADD', 11, 'no address left in range a')
    const attaches = lab.agent.calls.filter((name) => name === 'attach').length
    expect(await error(call('ADD', pod))).toMatchObject({ code: 11, msg: expect.stringContaining('no address left in range a') })
    expect((await plugin.calls()).map((each) => each.env['CNI_COMMAND'])).toEqual(['ADD', 'DEL'])
    expect(lab.agent.calls.filter((name) => name === 'attach').length).toBe(attaches)
    expect(await leftOver()).toEqual([])
  })

  it('no address is a failure, and the VF was not touched', async () => {
    await using pod = await lab.pod()
    await plugin.give({ cniVersion: '1.0.0' })
    expect(await error(call('ADD', pod))).toMatchObject({ code: 102, msg: expect.stringContaining('"scripted" gave no address') })
    expect(await leftOver()).toEqual([])
  })

  it('a plugin that hangs is killed when the caller’s time is over, and what it had is given back', async () => {
    await using pod = await lab.pod()
    await plugin.hang('ADD')
    const gone = new AbortController()
    const answer = lab.call('ADD', pod, { netconf: netconf(), env: env(), signal: gone.signal }).catch(() => undefined)
    await eventually(async () => (await plugin.calls('ADD')).length > 0, 'the plugin runs')
    gone.abort()
    await answer
    await eventually(async () => (await plugin.calls('DEL')).length > 0, 'the plugin was told to give it back')
  })

  it('an adapter that cannot take them refuses, and they are given back', async () => {
    await using pod = await lab.pod()
    lab.agent.before = (method) => {
      if (method === 'attach') throw new OffloadError('UNSUPPORTED_FIELD', 'hostIpam = …: adapter "fake" cannot do it')
    }
    expect(await error(call('ADD', pod))).toMatchObject({ code: 2 })
    expect(await leftOver()).toEqual([])
  })

  it('an adapter that gives others is found out, and they are given back', async () => {
    await using pod = await lab.pod()
    lab.agent.result = { ips: [{ address: '10.77.0.9/24' }] }
    expect(await error(call('ADD', pod))).toMatchObject({
      code: 102,
      msg: expect.stringContaining('10.77.0.9/24 on the DPU, and the IPAM plugin of the host gave 10.5.0.7/16, fd05::7/64'),
    })
    expect(await leftOver()).toEqual([])
  })

  it('are given back after the VF has left the pod and the DPU has let go, not before', async () => {
    await using pod = await lab.pod()
    await add(pod)
    const seen: unknown[] = []
    lab.agent.before = async (method) => {
      if (method === 'detach') seen.push(await plugin.holds(pod.containerId))
    }
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(seen).toEqual([true])
    expect(await plugin.held()).toEqual([])
  })

  it('stay while the agent is away, also over a restart, and are given back when it has confirmed the end', async () => {
    await using pod = await lab.pod()
    const result = await add(pod)
    lab.agent.become('unreachable')
    expect(await call('DEL', pod, netconf({ prevResult: result }))).toMatchObject({ exitCode: 0 })
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
    await lab.stopHost()
    await lab.startHost()
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(await plugin.held()).toEqual([pod.containerId])
    expect(await plugin.calls('DEL')).toEqual([])
    lab.agent.become('ready')
    await eventually(async () => (await plugin.held()).length === 0, 'it is given back')
  })

  it('that cannot be given back are tried again until they are, and an ADD of the same pod waits for it', async () => {
    await using pod = await lab.pod()
    await add(pod)
    await plugin.fail('DEL')
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect((await lab.inspect()).ipam).toMatchObject([{ phase: 'ending', failure: expect.stringContaining('told to fail') }])
    expect(await error(call('ADD', pod))).toMatchObject({ code: 102, msg: expect.stringContaining('could not be given back yet') })
    expect((await lab.inspect()).leases.every(({ state }) => state === 'free')).toBe(true)
    await plugin.mend()
    await eventually(async () => (await plugin.held()).length === 0, 'it is given back')
    await add(pod)
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it(
    'a plugin that takes neither ADD nor DEL is not asked for ever',
    async () => {
      await using pod = await lab.pod()
      await plugin.fail('ADD', 7, 'no such range')
      await plugin.fail('DEL', 7, 'no such range')
      expect(await error(call('ADD', pod))).toMatchObject({ code: 7, msg: expect.stringContaining('no such range') })
      await eventually(async () => (await lab.inspect()).ipam.length === 0, 'it is believed')
      await rm(join(dir, 'held', pod.containerId))
    },
    TIMEOUT,
  )

  it('CHECK passes the plugin’s finding on', async () => {
    await using pod = await lab.pod()
    const result = await add(pod)
    await plugin.fail('CHECK', 123, 'lease is gone')
    expect(await error(call('CHECK', pod, netconf({ prevResult: result })))).toMatchObject({
      code: 101,
      msg: expect.stringContaining('lease is gone'),
    })
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('STATUS passes the plugin’s word on', async () => {
    await using pod = await lab.pod()
    const conf = netconf({ cniVersion: '1.1.0' })
    const answer = await call('STATUS', pod, conf)
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    expect((await plugin.calls('STATUS'))[0]?.conf).toEqual({ ...conf, name: 'podnet', type: 'offload-cni' })
    await plugin.fail('STATUS', 51, 'pool is down')
    expect(await error(call('STATUS', pod, conf))).toMatchObject({ code: 51, msg: expect.stringContaining('pool is down') })
    expect(await error(call('STATUS', pod, { ...conf, hostIPAM: 1 }))).toMatchObject({ code: 7 })
  })

  it('GC is handed on with the list, and with what is still to be ended', async () => {
    await using one = await lab.pod('one')
    await using two = await lab.pod('two')
    const conf = (pods: readonly FakePod[]): object =>
      netconf({
        cniVersion: '1.1.0',
        'cni.dev/valid-attachments': pods.map(({ containerId }) => ({ containerID: containerId, ifname: 'eth0' })),
      })
    await add(one)
    await add(two)
    expect(await call('GC', one, conf([one, two]))).toMatchObject({ exitCode: 0 })
    expect((await plugin.calls('GC')).map((each) => each.conf)).toEqual([{ ...conf([one, two]), name: 'podnet', type: 'offload-cni' }])
    lab.agent.become('unreachable')
    expect(await call('GC', one, conf([one]))).toMatchObject({ exitCode: 0 })
    const told = (await plugin.calls('GC'))[0]?.conf['cni.dev/valid-attachments']
    expect(told).toEqual([one, two].map(({ containerId }) => ({ containerID: containerId, ifname: 'eth0' })))
    expect(await plugin.held()).toEqual([one.containerId, two.containerId].toSorted())
    lab.agent.become('ready')
    await eventually(async () => (await plugin.held()).length === 1, 'that of the stale one is given back')
    expect(await call('DEL', one)).toMatchObject({ exitCode: 0 })
  })

  it('are told to an agent that has lost everything, with what the pod has', async () => {
    await using pod = await lab.pod()
    await add(pod)
    await lab.stopHost()
    lab.agent.attachments.clear()
    await lab.startHost()
    await eventually(() => lab.agent.attachments.size === 1, 'the agent was told')
    const [told] = lab.agent.attachments.values()
    expect(told).toMatchObject({ hostIpam: HOST_IPAM, had: { ips: GIVEN.ips } })
    expect(await call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('networks without hostIPAM run no plugin and write nothing', async () => {
    await using pod = await lab.pod()
    const conf = { cniVersion: '1.0.0', ipam: { type: 'scripted' } }
    const { exitCode, output } = await call('ADD', pod, conf)
    expect(exitCode, output).toBe(0)
    expect(lab.agent.attachments.values().toArray()[0]).not.toHaveProperty('hostIpam')
    await call('CHECK', pod, { ...conf, prevResult: JSON.parse(output) as object })
    await call('DEL', pod, conf)
    expect(await plugin.calls()).toEqual([])
  })

  it('the real host-local: several ranges of both families, their routes and resolver, until DEL', async () => {
    await using pod = await lab.pod()
    const ipam = {
      type: 'host-local',
      dataDir: join(dir, 'host-local'),
      ranges: [[{ subnet: '10.5.0.0/24' }], [{ subnet: '10.6.0.0/16', rangeStart: '10.6.7.8' }], [{ subnet: 'fd05::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    }
    const conf = netconf({ ipam })
    const given = async (): Promise<string[]> =>
      (await readdir(join(dir, 'host-local', 'podnet')).catch((): string[] => [])).filter((name) => /^[0-9a-f.:_]+$/.test(name)).toSorted()
    const answer = await call('ADD', pod, conf, env({ CNI_PATH: '/usr/lib/cni' }))
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    const result = JSON.parse(answer.output) as Record<string, any>
    const addresses = ['10.5.0.2/24', '10.6.7.8/16', 'fd05::2/64']
    expect(result['ips'].map((ip: { address: string }) => ip.address)).toEqual(addresses)
    expect(await lab.net.addresses(pod.path, 'eth0')).toEqual(expect.arrayContaining(addresses))
    expect((await lab.net.routes(pod.path, 'eth0')).map(({ dst, gw }) => `${dst} ${gw}`)).toEqual(
      expect.arrayContaining(['0.0.0.0/0 10.5.0.1', '::/0 fd05::1']),
    )
    expect(await given()).toHaveLength(3)
    const check = await call('CHECK', pod, { ...conf, prevResult: result }, env({ CNI_PATH: '/usr/lib/cni' }))
    expect(check, check.output).toMatchObject({ exitCode: 0 })
    expect(await call('DEL', pod, { cniVersion: '1.0.0' })).toMatchObject({ exitCode: 0 })
    expect(await given()).toEqual([])
  })
})
