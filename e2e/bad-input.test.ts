import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

describe.skipIf(needsRoot)('bad input (needs root for namespaces)', () => {
  let e2e: E2eLab
  let dir: string

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cni-offload-bad-'))
    e2e = await E2eLab.up({ nodes: 1, vfs: 2, adapter: 'hello' })
  }, 120_000)

  afterAll(async () => {
    try {
      expect(await e2e?.held(e2e.lab.node(1))).toEqual(NOTHING_HELD)
    } finally {
      await e2e?.[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    }
  })

  afterEach(async () => {
    expect(await e2e.heldByHost(e2e.lab.node(1))).toEqual({ attachments: 0, leases: 0 })
  })

  const cases = {
    'malformed JSON': { stdin: '{"cniVersion": ', code: 6, says: /JSON/i },
    'a list instead of an object': { stdin: '[]', code: 6, says: /object/i },
    'no network name': { stdin: '{"cniVersion":"1.0.0","type":"offload-cni"}', code: 7, says: /name/ },
    'a bad network name': { conf: { name: 'a b' }, code: 7, says: /name.*a b/ },
    'an unknown cniVersion': { conf: { cniVersion: '9.9.9' }, code: 1, says: /9\.9\.9/ },
    'an unknown network': { conf: { name: 'elsewhere' }, code: 7, says: /elsewhere.*podnet|podnet.*elsewhere/s },
    'an unknown verb': { verb: 'ADOPT', code: 4, says: /ADOPT/ },
    'no container id': { env: { CNI_CONTAINERID: '' }, code: 4, says: /CNI_CONTAINERID/ },
    'no netns': { env: { CNI_NETNS: '' }, code: 4, says: /CNI_NETNS/ },
    'no interface name': { env: { CNI_IFNAME: '' }, code: 4, says: /CNI_IFNAME/ },
    'an interface name that is too long': {
      env: { CNI_IFNAME: 'much-too-long-for-linux' },
      code: 4,
      says: /CNI_IFNAME.*much-too-long-for-linux/,
    },
    'a netns that is not there': { env: { CNI_NETNS: '/run/netns/never-made' }, code: 4, says: /CNI_NETNS.*never-made/ },
    'a netns that is no netns': { env: { CNI_NETNS: '/etc/hostname' }, code: 4, says: /CNI_NETNS.*\/etc\/hostname/ },
    'a capability that is declared and that nobody honours': {
      conf: { capabilities: { bandwidth: true }, runtimeConfig: { bandwidth: { ingressRate: 1000, ingressBurst: 1000 } } },
      code: 2,
      says: /runtimeConfig\.bandwidth = {"ingressRate":1000,"ingressBurst":1000}/,
    },
    'a malformed value of a capability': {
      conf: { capabilities: { mac: true }, runtimeConfig: { mac: 'here' } },
      code: 7,
      says: /runtimeConfig: mac = "here"/,
    },
  }

  test.each(Object.entries(cases))('%s', async (_, input) => {
    const wanted: { code: number; says: RegExp; verb?: string; stdin?: string; conf?: object; env?: Record<string, string> } = input
    await e2e.lab.createPod('bad')
    const { code, says, verb = 'ADD', ...more } = wanted
    const outcome = await e2e.call(e2e.lab.node(1), verb, 'bad', more)
    await e2e.lab.deletePod('bad')
    expect(outcome.json).toMatchObject({ code })
    expect(`${outcome.json?.['msg']} ${outcome.json?.['details']}`).toMatch(says)
    expect(outcome.exitCode).not.toBe(0)
    expect(outcome.stderr).toBe('')
  })

  test("the node's own namespace is refused before anything happens", async () => {
    const node = e2e.lab.node(1)
    const outcome = await e2e.call(node, 'ADD', 'own', { netns: e2e.lab.netns(node, 'host') })
    expect(outcome.json).toMatchObject({ code: 8 })
  })

  test('an interface that is there already is left alone', async () => {
    const node = e2e.lab.node(1)
    const pod = await e2e.lab.createPod('taken')
    await e2e.net.apply(pod, [{ op: 'link.add-veth', dev: 'eth0', mac: '02:aa:00:00:00:01', peer: { name: 'peer0' } }])
    expect((await e2e.call(node, 'ADD', 'taken')).json).toMatchObject({ code: 100 })
    expect(await e2e.net.link(pod, 'eth0')).toMatchObject({ mac: '02:aa:00:00:00:01' })
    await e2e.lab.deletePod('taken')
  })

  test('a capability argument that the configuration does not declare is ignored, and the log names it', async () => {
    const node = e2e.lab.node(1)
    await e2e.addPod(node, 'extra', { runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 2 }], aliases: [] } })
    await expect.poll(() => readFile(node.host.log, 'utf8')).toMatch(/"keys":\["portMappings"\].*runtimeConfig is ignored/)
    expect(await e2e.call(node, 'DEL', 'extra')).toMatchObject({ exitCode: 0 })
    await e2e.lab.deletePod('extra')
  })

  test('an unknown field is tolerated', async () => {
    await e2e.addPod(e2e.lab.node(1), 'odd', { 'x-unknown': { deep: [1] } })
    expect(await e2e.call(e2e.lab.node(1), 'DEL', 'odd')).toMatchObject({ exitCode: 0 })
    await e2e.lab.deletePod('odd')
  })

  test('no free VF: try again later, and a DEL makes room', async () => {
    const node = e2e.lab.node(1)
    await e2e.addPod(node, 'one')
    await e2e.addPod(node, 'two')
    await e2e.lab.createPod('three')
    expect((await e2e.call(node, 'ADD', 'three')).json).toMatchObject({ code: 11 })
    expect((await e2e.call(node, 'STATUS', '', { conf: { cniVersion: '1.1.0' } })).json).toMatchObject({ code: 50 })
    await e2e.call(node, 'DEL', 'one')
    expect(await e2e.call(node, 'ADD', 'three')).toMatchObject({ exitCode: 0 })
    for (const pod of ['two', 'three']) await e2e.call(node, 'DEL', pod)
    for (const pod of ['one', 'two', 'three']) await e2e.lab.deletePod(pod)
  })

  test('no free address: try again later, nothing is kept, and a DEL makes room', async () => {
    await using small = await E2eLab.up({ nodes: 1, vfs: 4, pool: 1, adapter: 'hello' })
    const node = small.lab.node(1)
    await small.addPod(node, 'one')
    await small.lab.createPod('two')
    expect((await small.call(node, 'ADD', 'two')).json).toMatchObject({ code: 11 })
    expect(await small.held(node)).toEqual({ attachments: 1, leases: 1, agentAttachments: 1, vfsAway: 1 })
    await small.call(node, 'DEL', 'one')
    expect(await small.call(node, 'ADD', 'two')).toMatchObject({ exitCode: 0 })
    await small.call(node, 'DEL', 'two')
    expect(await small.held(node)).toEqual(NOTHING_HELD)
  })

  test('the agent is away: ADD says so and leaves nothing; STATUS is 50; afterwards all is well', async () => {
    const node = e2e.lab.node(1)
    await e2e.lab.kill(node, 'agent')
    await e2e.lab.createPod('early')
    const add = await e2e.call(node, 'ADD', 'early')
    const status = await e2e.call(node, 'STATUS', '', { conf: { cniVersion: '1.1.0' } })
    await e2e.lab.start(node, 'agent')
    expect(add.json).toMatchObject({ code: 11 })
    expect(add.json?.['msg']).toContain(node.agentAddress.replace('tcp://', ''))
    expect(status.json).toMatchObject({ code: 50 })
    await expect.poll(async () => (await e2e.call(node, 'ADD', 'early')).exitCode, { timeout: 20_000, interval: 100 }).toBe(0)
    expect(await e2e.call(node, 'DEL', 'early')).toMatchObject({ exitCode: 0 })
    await e2e.lab.deletePod('early')
  })

  test('the host daemon is away: try again later, with how to start it; VERSION works all the same', async () => {
    const node = e2e.lab.node(1)
    await e2e.lab.kill(node, 'host', 'SIGTERM')
    const outcome = await e2e.call(node, 'ADD', 'nobody')
    expect(outcome.json).toMatchObject({ code: 11 })
    expect(`${outcome.json?.['msg']} ${outcome.json?.['details']}`).toMatch(/offload-host/)
    expect((await e2e.call(node, 'VERSION', '')).json).toMatchObject({
      supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    })
    await e2e.lab.start(node, 'host')
  })

  test.each([
    ['a plugin that is not installed', { plugin: '@cni-offload/adapter-nowhere', options: {} }, /adapter-nowhere/],
    [
      'an option of the wrong type',
      { plugin: fileURLToPath(import.meta.resolve('@cni-offload/example-hello-adapter')), export: 'hello', options: { bridge: 7 } },
      /bridge.*7/,
    ],
  ])('agent.yaml with %s names file, field and value', async (_, adapter, says) => {
    const node = e2e.lab.node(1)
    const config = {
      ...(parse(await readFile(node.agent.config, 'utf8')) as object),
      stateDir: join(dir, 'agent'),
      listen: 'tcp://127.0.0.1:0',
      adapters: [{ network: 'podnet', ...adapter }],
    }
    const file = join(dir, 'agent.yaml')
    await writeFile(file, stringify(config))
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.resolve('@cni-offload/agent/main')), '--config', file], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(run.status).not.toBe(0)
    expect(run.stderr).toMatch(says)
    expect(run.stderr).toContain(file)
  })
})
