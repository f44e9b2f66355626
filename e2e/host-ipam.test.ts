import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reaches } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const PATIENCE = 120_000

/** Which node the second pod is on. */
const OTHER = EVERYTHING ? 2 : 1

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

describe.skipIf(needsRoot)('addresses from host-local on the hosts (needs root for namespaces)', { timeout: PATIENCE }, () => {
  let e2e: E2eLab
  let dir: string
  const results = new Map<string, Record<string, any>>()

  /** Each node has its part of both subnets, as operators of the plugin configure it. */
  const conf = (node: number): object => ({
    hostIPAM: true,
    ipam: {
      type: 'host-local',
      dataDir: join(dir, `n${node}`),
      ranges: [
        [{ subnet: '10.97.0.0/16', rangeStart: `10.97.${node}.10`, rangeEnd: `10.97.${node}.250`, gateway: '10.97.0.1' }],
        [{ subnet: 'fd97::/64', rangeStart: `fd97::${node}:10`, rangeEnd: `fd97::${node}:ff`, gateway: 'fd97::1' }],
      ],
      routes: [{ dst: '10.200.0.0/16' }],
    },
  })
  const given = async (node: number): Promise<string[]> =>
    (await readdir(join(dir, `n${node}`), { recursive: true }).catch(() => []))
      .map((name) => name.slice(name.lastIndexOf('/') + 1))
      .filter((name) => /^(10\.|fd97:)/.test(name))
      .toSorted()
  const add = async (pod: string, node: number): Promise<void> =>
    void results.set(pod, await e2e.addPod(e2e.lab.node(node), pod, conf(node)))
  const reachable = async (from: string, to: string): Promise<boolean[]> =>
    await Promise.all(
      (results.get(to)?.['ips'] ?? []).map(({ address }: { address: string }) =>
        reaches(e2e.lab.podPath(from), plain(address), { withinSeconds: 15 }),
      ),
    )

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'host-ipam-'))
    e2e = await E2eLab.up({ nodes: OTHER, vfs: 2, adapter: 'sriov', extra: { host: { ipam: { binDirs: ['/usr/lib/cni'] } } } })
  }, PATIENCE)
  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  test('pods have what their hosts gave, and reach each other over their DPUs in both families', async () => {
    await add('a', 1)
    await add('b', OTHER)
    expect(results.get('a')).toMatchObject({
      ips: [
        { address: '10.97.1.10/16', gateway: '10.97.0.1' },
        { address: 'fd97::1:10/64', gateway: 'fd97::1' },
      ],
      routes: [{ dst: '10.200.0.0/16', gw: '10.97.0.1' }],
    })
    expect(await reachable('a', 'b')).toEqual([true, true])
    expect(await e2e.call(e2e.lab.node(1), 'CHECK', 'a', { conf: { ...conf(1), prevResult: results.get('a') } })).toMatchObject({
      exitCode: 0,
    })
  })

  test('a DPU that boots again gives running pods the same', async () => {
    await e2e.lab.rebootDpu(e2e.lab.node(1), 'lost')
    expect(await reachable('a', 'b')).toEqual([true, true])
    expect(await reachable('b', 'a')).toEqual([true, true])
  })

  test('DEL while the DPU is away: the address stays until the end is confirmed there', async () => {
    const node = e2e.lab.node(1)
    await e2e.lab.kill(node, 'agent')
    expect(await e2e.call(node, 'DEL', 'a')).toMatchObject({ exitCode: 0 })
    expect(await given(1)).toContain('10.97.1.10')
    await e2e.lab.start(node, 'agent')
    await expect.poll(() => given(1), { timeout: 60_000, interval: 50 }).not.toContain('10.97.1.10')
    expect(await e2e.call(e2e.lab.node(OTHER), 'DEL', 'b', { conf: conf(OTHER) })).toMatchObject({ exitCode: 0 })
    expect(await given(OTHER)).toEqual([])
    for (const each of e2e.lab.state.nodes)
      await expect.poll(() => e2e.held(each), { timeout: 60_000, interval: 100 }).toEqual(NOTHING_HELD)
  })
})
