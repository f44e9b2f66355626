import { readFile } from 'node:fs/promises'
import { auditDifferences, auditLab, describeDifference, type Holding, type LabNode } from '@cni-offload/cli'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const VFS = 3

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

describe.skipIf(needsRoot)('a host that reboots (needs root for namespaces)', () => {
  let e2e: E2eLab
  let node: LabNode
  let empty: Holding[]

  beforeAll(async () => {
    // An ADD to a host that has just started waits for its agent; here it is known not to come.
    const extra = { host: { limits: { restartMs: 2_000 } } }
    e2e = await E2eLab.up({ nodes: 1, vfs: VFS, adapter: 'delegate', extra })
    node = e2e.lab.node(1)
    await e2e.addPod(node, 'first')
    await e2e.call(node, 'DEL', 'first')
    await e2e.lab.deletePod('first')
    empty = await auditLab(e2e.lab, e2e.net)
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  /** As many pods as there are VFs, and whether the first reaches the second. */
  const fill = async (name: string): Promise<string[]> => {
    const pods = Array.from({ length: VFS }, (_, i) => `${name}${i}`)
    const results = await Promise.all(pods.map((pod) => e2e.addPod(node, pod)))
    for (const { address } of results[1]?.['ips'] ?? [])
      expect(await ping(e2e.lab.podPath(`${name}0`), plain(address)), address).toMatchObject({ received: 3 })
    return pods
  }
  const delAll = async (pods: readonly string[], more: { netns?: string } = {}): Promise<void> => {
    for (const outcome of await Promise.all(pods.map((pod) => e2e.call(node, 'DEL', pod, more))))
      expect(outcome).toMatchObject({ exitCode: 0 })
  }
  const freed = (): Promise<void> =>
    expect.poll(() => e2e.heldByHost(node), { timeout: 60_000, interval: 100 }).toEqual({ attachments: 0, leases: 0 })
  // The agent is asked by a process of its own, which may take its time.
  const nothingHeld = (): Promise<void> => expect.poll(() => e2e.held(node), { timeout: 90_000, interval: 100 }).toEqual(NOTHING_HELD)
  const leftOver = async (): Promise<string[]> => auditDifferences(empty, await auditLab(e2e.lab, e2e.net)).map(describeDifference)

  test('its dead pods are undone on both sides, new ones get their VFs, and what kubelet still ends is success', async () => {
    const old = await fill('old')
    const tookMs = await e2e.lab.rebootHost(node)
    console.log(`${VFS} pods: the daemon serves again after ${Math.round(tookMs)} ms`)
    await freed()
    await nothingHeld()
    expect(await readFile(node.host.log, 'utf8')).toContain('the host was rebooted')
    expect(await leftOver()).toEqual([])
    const next = await fill('next')
    await delAll(old)
    await delAll(old, { netns: '' })
    expect(await e2e.heldByHost(node), 'the new ones').toEqual({ attachments: VFS, leases: VFS })
    await delAll(next)
    for (const pod of next) await e2e.lab.deletePod(pod)
    await freed()
  }, 240_000)

  test('while the agent is away, too: the VFs are quarantined until it is back', async () => {
    const old = await fill('away')
    await e2e.lab.kill(node, 'agent')
    await e2e.lab.rebootHost(node)
    expect(await e2e.heldByHost(node)).toEqual({ attachments: 0, leases: VFS })
    await delAll(old)
    await e2e.lab.createPod('early')
    expect((await e2e.call(node, 'ADD', 'early')).json).toMatchObject({ code: 11 })
    await e2e.lab.start(node, 'agent')
    await freed()
    const next = await fill('later')
    await delAll(next)
    for (const pod of [...next, 'early']) await e2e.lab.deletePod(pod)
    await freed()
    expect(await leftOver()).toEqual([])
    await nothingHeld()
  }, 240_000)
})
