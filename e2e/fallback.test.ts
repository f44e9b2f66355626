import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LabNode } from '@cni-offload/cli'
import { PLUGIN_OWNER } from '@cni-offload/sdk/exec'
import { exec, inNetns, ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')
const ON_HOST = /^10\.99\.0\./
const OFFLOADED = /^10\.244\.1\./

describe.skipIf(needsRoot)('mixed pods (needs root for namespaces)', () => {
  let e2e: E2eLab
  let node: LabNode
  let dir: string

  const bridge = (): object => ({
    type: 'bridge',
    bridge: 'fb0',
    isGateway: true,
    ipMasq: true,
    ipam: { type: 'host-local', dataDir: join(dir, 'ipam'), ranges: [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd99::/64' }]] },
  })
  const list = (...plugins: object[]): object => ({ cniVersion: '1.0.0', name: 'hostnet', plugins: [bridge(), ...plugins] })
  const optOut = { runtimeConfig: { 'io.kubernetes.cri.pod-annotations': { 'cni-offload.io/network': 'host' } } }

  /** What the plugins have left on the host, as readable phrases. */
  const leftOnHost = async (): Promise<string[]> => {
    const netns = e2e.lab.netns(node, 'host')
    const ports = (await e2e.net.links(netns)).filter(({ name }) => name.startsWith('veth')).map(({ name }) => `port ${name}`)
    const files = await readdir(join(dir, 'ipam', 'hostnet')).catch((): string[] => [])
    const addresses = files.filter((name) => /^[0-9a-f.:_]+$/.test(name)).map((name) => `address ${name}`)
    const { stdout } = await exec(inNetns(netns, ['iptables-save']))
    return [...ports, ...addresses, ...stdout.split('\n').filter((line) => /CNI-[0-9a-f]{10}/.test(line))]
  }
  const nothingHeld = async (): Promise<void> => {
    await expect.poll(() => e2e.held(node), { timeout: 30_000, interval: 200 }).toEqual(NOTHING_HELD)
    expect(await leftOnHost()).toEqual([])
  }
  const del = async (...pods: string[]): Promise<void> => {
    for (const pod of pods) {
      expect(await e2e.call(node, 'DEL', pod)).toMatchObject({ exitCode: 0, stdout: '' })
      await e2e.lab.deletePod(pod)
    }
  }

  /** Process of the slow plugin, and whether it is that one still. */
  const pluginPid = (): string => readFileSync(join(dir, 'pid'), 'utf8').trim()
  const pluginRuns = (): boolean => {
    try {
      return readFileSync(`/proc/${pluginPid()}/environ`, 'latin1').includes(`${PLUGIN_OWNER}=`)
    } catch {
      // It was never started, has ended, or is just ending.
      return false
    }
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cni-offload-fallback-'))
    await mkdir(join(dir, 'bin'))
    const host = { fallback: { when: ['annotation', 'dpu-down'], binDirs: [join(dir, 'bin'), '/usr/lib/cni'], conflist: list() } }
    const netconf = { capabilities: { 'io.kubernetes.cri.pod-annotations': true } }
    e2e = await E2eLab.up({ nodes: 1, vfs: 2, extra: { host, netconf } })
    node = e2e.lab.node(1)
  }, 120_000)

  afterAll(async () => {
    // Only a failed test leaves the slow plugin behind.
    if (pluginRuns()) process.kill(Number(pluginPid()), 'SIGKILL')
    await e2e?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  test('annotated pods are on the bridge of the host and reach each other, the others are offloaded', async () => {
    const a = await e2e.addPod(node, 'a', optOut)
    const b = await e2e.addPod(node, 'b', optOut)
    const c = await e2e.addPod(node, 'c')
    expect(a.ips[0].address).toMatch(ON_HOST)
    expect(c.ips[0].address).toMatch(OFFLOADED)
    for (const { address } of b.ips)
      expect(await ping(e2e.lab.podPath('a'), plain(address), { count: 2 })).toEqual({ sent: 2, received: 2 })
    expect(await ping(e2e.lab.podPath('c'), '10.244.1.1', { count: 1, waitMs: 10_000 })).toEqual({ sent: 1, received: 1 })
    expect(await e2e.held(node), 'one VF').toEqual({ attachments: 3, leases: 1, agentAttachments: 1, vfsAway: 1 })
    expect((await leftOnHost()).join('\n')).toMatch(/port veth[^]*address 10\.99\.0[^]*MASQUERADE/)
    for (const [pod, result] of [['a', a] as const, ['c', c] as const])
      expect(await e2e.call(node, 'CHECK', pod, { conf: { prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
    const wrong = { runtimeConfig: { 'io.kubernetes.cri.pod-annotations': { 'cni-offload.io/network': 'hsot' } } }
    expect(await e2e.call(node, 'ADD', 'x', { conf: wrong, netns: e2e.lab.podPath('a') })).toMatchObject({ exitCode: 1, json: { code: 7 } })
    await del('a', 'b', 'c', 'a')
    await nothingHeld()
  })

  test('a node whose DPU is killed goes on making pods; once it is back new pods are offloaded and the old one ends well', async () => {
    const before = await e2e.addPod(node, 'before')
    await e2e.lab.kill(node, 'agent')
    const status = (when?: string[]) =>
      e2e.call(node, 'STATUS', 'x', { conf: { cniVersion: '1.1.0', ...(when === undefined ? {} : { fallback: { when } }) } })
    await expect.poll(() => status([]), { timeout: 20_000, interval: 100 }).toMatchObject({ exitCode: 1, json: { code: 50 } })
    expect(await status()).toMatchObject({ exitCode: 0, stdout: '' })
    const during = await e2e.addPod(node, 'during')
    expect(during.ips[0].address).toMatch(ON_HOST)
    await e2e.lab.start(node, 'agent')
    await expect.poll(() => status([]), { timeout: 30_000, interval: 200 }).toMatchObject({ exitCode: 0 })
    const after = await e2e.addPod(node, 'after')
    expect([before, after].map((result) => result.ips[0].address)).toEqual([
      expect.stringMatching(OFFLOADED),
      expect.stringMatching(OFFLOADED),
    ])
    expect(await e2e.net.addresses(e2e.lab.podPath('during'), 'eth0'), 'it stays where it is').toContain(during.ips[0].address)
    expect(await e2e.call(node, 'CHECK', 'during', { conf: { prevResult: during } })).toMatchObject({ exitCode: 0, stdout: '' })
    await del('before', 'during', 'after')
    await nothingHeld()
  })

  test('a daemon that is killed in the middle of an ADD leaves nothing, not even the plugin that was running', async () => {
    const slow = join(dir, 'bin', 'slow')
    await writeFile(
      slow,
      `#!/bin/sh\n[ "$CNI_COMMAND" = ADD ] || exit 0\necho $$ >${dir}/pid.tmp\nmv ${dir}/pid.tmp ${dir}/pid\nexec sleep 600\n`,
    )
    await chmod(slow, 0o755)
    const kept = await e2e.addPod(node, 'kept', optOut)
    await e2e.lab.createPod('cut')
    const conf = { offload: false, fallback: { conflist: list({ type: 'slow' }) } }
    const call = e2e.call(node, 'ADD', 'cut', { conf })
    await expect.poll(() => existsSync(join(dir, 'pid')), { timeout: 30_000, interval: 50 }).toBe(true)
    await e2e.lab.kill(node, 'host')
    expect(await call).toMatchObject({ exitCode: 1, json: { code: 11 } })
    expect(pluginRuns(), 'a plugin outlives its daemon').toBe(true)
    await e2e.lab.start(node, 'host')
    expect(pluginRuns(), 'the next daemon ends it').toBe(false)
    await expect.poll(() => e2e.net.link(e2e.lab.podPath('cut'), 'eth0'), { timeout: 30_000, interval: 200 }).toBeUndefined()
    expect(await e2e.call(node, 'CHECK', 'kept', { conf: { prevResult: kept } })).toMatchObject({ exitCode: 0, stdout: '' })
    await del('cut', 'kept')
    await nothingHeld()
  })
})
