import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@cni-offload/sdk'
import { exec, type FakePod, inNetns, isRoot, ping, ROOT_REASON } from '@cni-offload/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { FallbackOptions, FallbackTrigger } from '../../src/index.ts'
import { eventually, HostLab } from '../support/lab.ts'

const CAPABILITY = 'io.kubernetes.cri.pod-annotations'
const optOut = (more: object = {}): object => ({
  capabilities: Object.fromEntries([CAPABILITY, ...Object.keys(more)].map((name) => [name, true])),
  runtimeConfig: { [CAPABILITY]: { 'cni-offload.io/network': 'host' }, ...more },
})
const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

describe.skipIf(!isRoot())(`the network of the host, with the stock plugins (${ROOT_REASON})`, () => {
  let dir: string
  let lab: HostLab
  const logged: string[] = []
  let fallback: FallbackOptions | undefined

  const bridge = (): object => ({
    type: 'bridge',
    bridge: 'fb0',
    isGateway: true,
    ipMasq: true,
    capabilities: { ips: true },
    ipam: {
      type: 'host-local',
      dataDir: join(dir, 'ipam'),
      ranges: [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd99::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  })
  const portmap = { type: 'portmap', capabilities: { portMappings: true } }
  const configured = (more: { plugins?: object[]; when?: FallbackTrigger[]; cniVersion?: '1.0.0' | '0.3.1' } = {}): FallbackOptions => ({
    conflist: {
      cniVersion: more.cniVersion ?? '1.0.0',
      name: 'hostnet',
      plugins: (more.plugins ?? [bridge(), portmap]) as { type: string }[],
    },
    binDirs: [join(dir, 'bin'), '/usr/lib/cni'],
    when: more.when ?? ['annotation', 'dpu-down'],
    // Its own CHECK fails wherever iptables and ip6tables are both installed.
    noCheck: ['portmap'],
  })
  const script = async (name: string, body: string): Promise<void> => {
    await writeFile(join(dir, 'bin', name), `#!/bin/sh\nconf=$(cat)\n${body}\n`)
    await chmod(join(dir, 'bin', name), 0o755)
  }
  /** A plugin that changes nothing: it prints the result that it gets. */
  const passOn = `[ $CNI_COMMAND = ADD ] && echo "$conf" | sed 's/.*"prevResult"://; s/}$//' || true`
  const restart = async (to: FallbackOptions | undefined): Promise<void> => {
    fallback = to
    await lab.stopHost()
    await lab.startHost()
  }
  const add = async (pod: FakePod, netconf: object = optOut()): Promise<Record<string, any>> => {
    const answer = await lab.call('ADD', pod, { netconf })
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    return JSON.parse(answer.output) as Record<string, any>
  }
  const error = async (answer: ReturnType<HostLab['call']>): Promise<Record<string, any>> => {
    const { exitCode, output } = await answer
    expect(exitCode).toBe(1)
    return JSON.parse(output) as Record<string, any>
  }
  /** What plugins have left on the host, as readable phrases. */
  const leftOnHost = async (): Promise<string[]> => {
    const links = await lab.net.links(lab.hostNetns.path)
    const ports = links.filter(({ name }) => name.startsWith('veth')).map(({ name }) => `port ${name}`)
    const files = await readdir(join(dir, 'ipam', 'hostnet')).catch((): string[] => [])
    const addresses = files.filter((name) => /^[0-9a-f.:_]+$/.test(name)).map((name) => `address ${name}`)
    const rules = (await lab.hostNetns.output(['iptables-save'])).split('\n').filter((line) => /CNI-(DN-)?[0-9a-f]{10}/.test(line))
    return [...ports, ...addresses, ...rules]
  }
  const nothingLeft = async (): Promise<void> => {
    if ((await lab.net.link(lab.hostNetns.path, 'fb0')) !== undefined)
      await lab.net.apply(lab.hostNetns.path, [{ op: 'link.del', dev: 'fb0' }])
    expect(await lab.remains()).toEqual([])
    expect(await leftOnHost()).toEqual([])
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'host-network-'))
    await mkdir(join(dir, 'bin'))
    fallback = configured()
    const note = (_fields: unknown, message: string): void => void logged.push(message)
    const log = { ...silentLogger, info: note, warn: note, child: () => log }
    lab = await HostLab.start({
      vfs: 1,
      log,
      get host() {
        return fallback === undefined ? {} : { fallback }
      },
    })
  })
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })
  afterEach(() => nothingLeft())

  it('answers again what it has made on the host for the very call whose caller has lost it, also after a restart', async () => {
    await using pod = await lab.pod()
    const netconf = optOut({ dns: { servers: ['10.99.0.53'] } })
    const first = await lab.call('ADD', pod, { netconf })
    expect(first.exitCode).toBe(0)
    expect(await lab.call('ADD', pod, { netconf, sinceMs: 60_000 })).toEqual(first)
    await restart(fallback)
    expect(await lab.call('ADD', pod, { netconf, sinceMs: 60_000 })).toEqual(first)
    // A call that was sent once is another one.
    expect(await error(lab.call('ADD', pod, { netconf }))).toMatchObject({ code: 100 })
    expect((await lab.call('DEL', pod, { netconf })).exitCode).toBe(0)
  })

  it('gives pods that opted out a working network and no VF, and takes it back completely', async () => {
    await using one = await lab.pod('one')
    await using two = await lab.pod('two')
    const port = { hostPort: 8080, containerPort: 80, protocol: 'tcp' }
    const a = await add(one, optOut({ portMappings: [port], dns: { servers: ['10.99.0.53'] } }))
    const b = await add(two, { offload: false })
    expect(a.dns, 'what the runtime asks for').toMatchObject({ nameservers: ['10.99.0.53'] })
    expect(a).toMatchObject({
      cniVersion: '1.1.0',
      ips: [{ address: expect.stringMatching(/^10\.99\.0\./) }, { address: expect.stringMatching(/^fd99::/) }],
    })
    expect(a.interfaces.find(({ sandbox }: { sandbox?: string }) => sandbox !== undefined)).toMatchObject({
      name: 'eth0',
      sandbox: one.path,
    })
    for (const { address } of b.ips) expect(await ping(one.path, plain(address), { count: 2 })).toEqual({ sent: 2, received: 2 })
    expect(lab.agent.calls).not.toContain('attach')
    expect(await lab.inspect()).toMatchObject({
      attachments: [],
      leases: [{ state: 'free' }],
      fallbacks: [
        {
          phase: 'added',
          reason: 'annotation',
          list: 'hostnet',
          pod: one.identity,
          ips: a.ips.map(({ address }: { address: string }) => address),
        },
        { phase: 'added', reason: 'netconf' },
      ],
    })
    expect(logged).toContain('pod is not offloaded: it has the network of the host until it ends')
    const metrics = await (await fetch(`http://127.0.0.1:${await lab.host.metricsListening}/metrics`)).text()
    expect(metrics).toContain('cni_offload_host_fallback_total{reason="annotation"} 1')
    expect(metrics).toContain('cni_offload_host_fallback_attachments{phase="added"} 2')
    expect((await leftOnHost()).join('\n')).toMatch(/CNI-DN-\w+ .*--dport 8080 .*--to-destination 10\.99\.0\.\d+:80/)

    expect(await error(lab.call('ADD', one, { netconf: optOut() }))).toMatchObject({
      code: 100,
      msg: expect.stringContaining('exists already'),
    })
    expect(await lab.call('CHECK', one, { netconf: { prevResult: a } })).toEqual({ exitCode: 0, output: '' })
    await exec(inNetns(one.path, ['ip', 'route', 'del', 'default']))
    expect(await error(lab.call('CHECK', one, { netconf: { prevResult: a } }))).toMatchObject({
      code: 101,
      msg: expect.stringContaining('bridge'),
    })
    for (const pod of [one, two, one]) expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.net.link(one.path, 'eth0')).toBeUndefined()
  })

  it('leaves a pod without the annotation to the DPU', async () => {
    await using pod = await lab.pod()
    expect(await add(pod, {})).toMatchObject({ ips: [{ address: expect.stringMatching(/^10\.77\./) }, {}] })
    await lab.call('DEL', pod)
  })

  it('ends what it made with the list that made it, whatever the configuration says by then', async () => {
    await using pod = await lab.pod()
    await using gone = await lab.pod('gone')
    await add(pod)
    const result = await add(gone)
    await restart(undefined)
    expect(await lab.call('CHECK', gone, { netconf: { prevResult: result } })).toEqual({ exitCode: 0, output: '' })
    expect(await lab.call('DEL', pod, { netconf: { fallback: 'nonsense' } })).toEqual({ exitCode: 0, output: '' })
    expect(await lab.call('GC', gone, { netconf: { 'cni.dev/valid-attachments': [] } })).toEqual({ exitCode: 0, output: '' })
    await restart(configured())
  })

  it('is also a later plugin of a list, hands capabilities and arguments on, and answers old callers', async () => {
    await script('witness', `printf '%s %s' "$CNI_ARGS" "$conf" > ${dir}/witness\n${passOn}`)
    await restart(configured({ cniVersion: '0.3.1', plugins: [bridge(), { type: 'witness', capabilities: { portMappings: true } }] }))
    await using pod = await lab.pod()
    const prevResult = { interfaces: [{ name: 'lo', sandbox: pod.path }], ips: [{ address: '127.0.0.1/8', interface: 0 }] }
    const runtimeConfig = optOut({ portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] })
    const result = await add(pod, { cniVersion: '1.0.0', prevResult, args: { cni: { labels: ['x'] } }, ...runtimeConfig })
    expect(result.interfaces.map(({ name }: { name: string }) => name)).toEqual(['lo', 'fb0', expect.stringMatching(/^veth/), 'eth0'])
    expect(result.ips.map((ip: { interface: number }) => ip.interface)).toEqual([0, 3, 3])
    expect(await lab.call('DEL', pod, { netconf: { cniVersion: '1.0.0', prevResult: result } })).toEqual({ exitCode: 0, output: '' })
    const seen = await lab.hostNetns.output(['cat', `${dir}/witness`])
    expect(seen).toContain('K8S_POD_NAME=web')
    const conf = JSON.parse(seen.slice(seen.indexOf('{')))
    expect(conf).toMatchObject({
      name: 'hostnet',
      cniVersion: '0.3.1',
      args: { cni: { labels: ['x'] } },
      runtimeConfig: { portMappings: [{ hostPort: 8080 }] },
    })
    expect(conf.runtimeConfig, 'was not declared').not.toHaveProperty([CAPABILITY])
    expect(await add(pod, { cniVersion: '0.2.0', ...optOut() })).toMatchObject({
      cniVersion: '0.2.0',
      ip4: { ip: expect.stringMatching(/^10\.99/) },
    })
    await lab.call('DEL', pod)
    expect(await error(lab.call('ADD', pod, { netconf: optOut({ bandwidth: { ingressRate: 1000, ingressBurst: 1000 } }) }))).toMatchObject({
      code: 2,
      msg: expect.stringContaining('bandwidth'),
    })
    await restart(configured())
  })

  it('undoes what plugins did when one of them fails, or when the caller is gone, and kills what runs', async () => {
    await script('last', '[ $CNI_COMMAND = DEL ] || { echo \'{"code":7,"msg":"no luck"}\'; exit 1; }')
    await restart(configured({ plugins: [bridge(), { type: 'last' }] }))
    await using pod = await lab.pod()
    expect(await error(lab.call('ADD', pod, { netconf: optOut() }))).toMatchObject({
      code: 102,
      msg: 'network of the host (annotation): plugin "last", ADD: code 7: no luck',
    })
    await nothingLeft()
    await script('last', `[ $CNI_COMMAND = DEL ] || { touch ${dir}/begun; sleep 300; }`)
    const abort = new AbortController()
    const call = lab.call('ADD', pod, { netconf: optOut(), signal: abort.signal }).catch(() => undefined)
    await eventually(async () => (await readdir(dir)).includes('begun'), 'the last plugin has begun')
    expect(await leftOnHost()).not.toEqual([])
    abort.abort()
    await call
    await eventually(async () => (await lab.inspect()).fallbacks.length === 0, 'the attachment is undone')
    await restart(configured())
  })

  it('leaves an interface of that name alone', async () => {
    await using pod = await lab.pod()
    await lab.net.apply(pod.path, [{ op: 'link.add-bridge', dev: 'eth0' }])
    expect(await error(lab.call('ADD', pod, { netconf: optOut() }))).toMatchObject({ code: 100 })
    expect(await lab.net.link(pod.path, 'eth0')).toBeDefined()
  })

  it('touches nothing in another namespace that has the path of a pod that is gone', async () => {
    await restart(configured({ plugins: [{ ...bridge(), ipMasq: false }] }))
    await using pod = await lab.pod()
    await add(pod)
    const name = pod.path.slice(pod.path.lastIndexOf('/') + 1)
    await lab.net.deleteNetns(name)
    await lab.net.createNetns(name)
    await lab.net.apply(pod.path, [{ op: 'link.add-bridge', dev: 'eth0' }])
    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.net.link(pod.path, 'eth0')).toBeDefined()
    await restart(configured())
  })

  it('DEL succeeds although a plugin fails, and the end is repeated until it succeeds, also by a later daemon', async () => {
    await script('last', `[ $CNI_COMMAND = DEL ] && [ -e ${dir}/refuse ] && exit 1\n${passOn}`)
    await restart(configured({ plugins: [bridge(), { type: 'last' }] }))
    await using pod = await lab.pod()
    await add(pod)
    await writeFile(join(dir, 'refuse'), '')
    expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
    expect(await lab.inspect()).toMatchObject({ fallbacks: [{ phase: 'ending', failure: expect.stringContaining('plugin "last", DEL') }] })
    expect(await error(lab.call('ADD', pod, { netconf: optOut() })), 'not before the old one is gone').toMatchObject({ code: 102 })
    await restart(configured())
    expect(await lab.inspect()).toMatchObject({ fallbacks: [{ phase: 'ending' }] })
    await rm(join(dir, 'refuse'))
    await eventually(async () => (await lab.inspect()).fallbacks.length === 0, 'the end was repeated')
  })

  it('serves while the DPU is down, and offloads again afterwards; nobody is moved', async () => {
    await using before = await lab.pod('before')
    await using during = await lab.pod('during')
    await using after = await lab.pod('after')
    lab.agent.become('unreachable')
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the agent is away')
    expect(await lab.call('STATUS', before)).toEqual({ exitCode: 0, output: '' })
    expect(await error(lab.call('STATUS', before, { netconf: { fallback: { when: [] } } }))).toMatchObject({ code: 50 })
    expect(await error(lab.call('ADD', before, { netconf: { fallback: { when: [] } } }))).toMatchObject({ code: 11 })
    expect(await add(during, {})).toMatchObject({ ips: [{ address: expect.stringMatching(/^10\.99\./) }, {}] })
    expect(await lab.inspect()).toMatchObject({ attachments: [], fallbacks: [{ reason: 'dpu-down' }] })
    lab.agent.become('ready')
    await eventually(async () => (await lab.inspect()).agent.connected, 'the agent is back')
    expect(logged).toContain('the agent is back: new pods are offloaded, those on the network of the host stay there')
    expect(await add(after, {})).toMatchObject({ ips: [{ address: expect.stringMatching(/^10\.77\./) }, {}] })
    expect(await lab.inspect(), 'it stays').toMatchObject({ attachments: [{ pod: after.identity }], fallbacks: [{ pod: during.identity }] })
    for (const pod of [during, after]) expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
  })

  it('tells a list that knows GC what all its networks still have', async () => {
    await script(
      'keeper',
      `[ $CNI_COMMAND = GC ] && printf %s "$conf" > ${dir}/gc
       [ $CNI_COMMAND = VERSION ] && echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}'
       [ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.99.0.9/24"}]}' || true`,
    )
    const conflist = { cniVersion: '1.1.0', name: 'kept', plugins: [{ type: 'keeper' }] }
    const netconf = { offload: false, fallback: { conflist } }
    await using valid = await lab.pod('valid')
    await using stale = await lab.pod('stale')
    for (const pod of [valid, stale]) await add(pod, netconf)
    expect(await lab.call('STATUS', valid, { netconf })).toEqual({ exitCode: 0, output: '' })
    const list = [{ containerID: valid.containerId, ifname: 'eth0' }]
    expect(await lab.call('GC', valid, { netconf: { ...netconf, 'cni.dev/valid-attachments': list } })).toEqual({ exitCode: 0, output: '' })
    expect((await lab.inspect()).fallbacks.map(({ pod }) => pod.name)).toEqual(['valid'])
    expect(JSON.parse(await lab.hostNetns.output(['cat', `${dir}/gc`]))).toMatchObject({ name: 'kept', 'cni.dev/valid-attachments': list })
    await lab.call('DEL', valid)
  })

  it('a list that is not installed makes neither ADD nor STATUS succeed', async () => {
    await using pod = await lab.pod()
    const missing = { conflist: { cniVersion: '1.0.0', name: 'x', plugins: [{ type: 'missing-plugin' }] } }
    for (const verb of ['ADD', 'STATUS'])
      expect(await error(lab.call(verb, pod, { netconf: { offload: false, fallback: missing } }))).toMatchObject({
        code: 50,
        msg: expect.stringContaining('missing-plugin'),
      })
  })

  it('falls back for want of a VF only where that is configured', async () => {
    await using first = await lab.pod('first')
    await using second = await lab.pod('second')
    await add(first, {})
    expect(await error(lab.call('ADD', second))).toMatchObject({ code: 11 })
    expect(await error(lab.call('STATUS', second))).toMatchObject({ code: 50 })
    const netconf = { fallback: { when: ['no-free-vf'] } }
    expect(await lab.call('STATUS', second, { netconf })).toEqual({ exitCode: 0, output: '' })
    expect(await add(second, netconf)).toMatchObject({ ips: [{ address: expect.stringMatching(/^10\.99\./) }, {}] })
    for (const pod of [first, second]) expect(await lab.call('DEL', pod)).toEqual({ exitCode: 0, output: '' })
  })
})
