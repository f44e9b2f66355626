import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type DaemonRole, LAB_ADAPTERS, type LabNode } from '@cni-offload/cli'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const PODS = ['one', 'two', 'three']
const VFS = PODS.length + 1

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')
const garbage = (file: string): Promise<void> => writeFile(file, 'nothing that could be read'.repeat(1000))

const ADAPTERS = EVERYTHING ? LAB_ADAPTERS : (['delegate'] as const)

describe.skipIf(needsRoot).each(ADAPTERS)('state that is lost under running pods, adapter %s (needs root for namespaces)', (adapter) => {
  let e2e: E2eLab
  let node: LabNode
  const results = new Map<string, Record<string, any>>()

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: VFS, adapter })
    node = e2e.lab.node(1)
    for (const pod of PODS) results.set(pod, await e2e.addPod(node, pod))
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  const addressesOf = (result: Record<string, any>): string[] => result['ips'].map(({ address }: { address: string }) => plain(address))
  const store = (): string => join(dirname(node.agent.journal), 'adapters', 'podnet', `${adapter}.db`)

  /** What of a pod must not be touched: its interface, and on the DPU what a plugin made for it. */
  const untouched = async (): Promise<object> => {
    const inside = await Promise.all(PODS.map((pod) => e2e.net.link(e2e.lab.podPath(pod), 'eth0')))
    const made = await e2e.net.links(e2e.lab.netns(node, 'agent'))
    return {
      pods: inside.map((link) => ({ index: link?.index, mac: link?.mac, up: link?.up })),
      dpu: made.map(({ index, name, master }) => ({ index, name, master })).toSorted((a, b) => a.index - b.index),
    }
  }

  /** Pods whose next one in the ring does not answer at each of its addresses. */
  const silent = async (): Promise<string[]> => {
    const answers = await Promise.all(
      PODS.map(async (pod, at) => {
        const others = addressesOf(results.get(PODS[(at + 1) % PODS.length] ?? '') ?? {})
        const got = await Promise.all(others.map((address) => ping(e2e.lab.podPath(pod), address, { count: 2 })))
        return got.length === 2 && got.every(({ received }) => received === 2) ? [] : [pod]
      }),
    )
    return answers.flat()
  }

  const stop = async (...roles: readonly DaemonRole[]): Promise<void> => {
    for (const role of roles) await e2e.lab.kill(node, role, 'SIGTERM')
  }
  /** All is known again on both sides, and no VF and no address that a pod has goes to another one. */
  const asBefore = async (): Promise<void> => {
    await expect
      .poll(() => e2e.heldByHost(node), { timeout: 60_000, interval: 100 })
      .toEqual({ attachments: PODS.length, leases: PODS.length })
    for (const pod of PODS)
      expect(await e2e.call(node, 'CHECK', pod, { conf: { prevResult: results.get(pod) } })).toMatchObject({ exitCode: 0, stdout: '' })
    const taken = PODS.flatMap((pod) => addressesOf(results.get(pod) ?? {}))
    const fresh = addressesOf(await e2e.addPod(node, 'new'))
    expect(fresh.filter((address) => taken.includes(address))).toEqual([])
    expect(await silent()).toEqual([])
    expect(await e2e.call(node, 'DEL', 'new')).toMatchObject({ exitCode: 0 })
    await e2e.lab.deletePod('new')
  }

  const LOSSES: readonly (readonly [string, readonly DaemonRole[], () => readonly string[], (file: string) => Promise<void>])[] = [
    ['the journal of the host', ['host'], () => [node.host.journal], garbage],
    ['the journal of the agent', ['agent'], () => [node.agent.journal], (file) => truncate(file, 5000)],
    ['the database of the adapter', ['agent'], () => [store()], garbage],
    ['the journals of both sides at once', ['host', 'agent'], () => [node.host.journal, node.agent.journal], garbage],
  ]

  // What does not concern the adapter is the same with each of them.
  test.each(adapter === 'delegate' ? LOSSES : LOSSES.slice(2))(
    '%s: set aside, pods are not touched, and all is known again',
    async (_what, roles, files, damage) => {
      await expect.poll(silent, { timeout: 30_000, interval: 100 }).toEqual([])
      const before = await untouched()
      await stop(...roles)
      for (const file of files()) await damage(file)
      for (const role of roles) await e2e.lab.start(node, role)
      await asBefore()
      expect(await untouched()).toEqual(before)
      for (const file of files()) expect((await readdir(dirname(file))).join()).toContain(`${basename(file)}.unreadable-`)
    },
    120_000,
  )

  test.runIf(adapter === 'delegate')(
    'a journal of a newer version: refused with what to do, and nothing is touched',
    async () => {
      const before = await untouched()
      for (const role of ['host', 'agent'] as const) {
        await stop(role)
        const version = setVersion(node[role].journal, 1000)
        const bytes = await readFile(node[role].journal)
        await expect(e2e.lab.start(node, role)).rejects.toThrow(/schema version 1000.*written by a newer one.*Run the newer/s)
        expect((await readFile(node[role].journal)).equals(bytes)).toBe(true)
        setVersion(node[role].journal, version)
        await e2e.lab.start(node, role)
      }
      await asBefore()
      expect(await untouched()).toEqual(before)
    },
    120_000,
  )

  test('and the pods leave nothing when they end', async () => {
    for (const outcome of await Promise.all(PODS.map((pod) => e2e.call(node, 'DEL', pod)))) expect(outcome).toMatchObject({ exitCode: 0 })
    await expect.poll(() => e2e.held(node), { timeout: 90_000, interval: 100 }).toEqual(NOTHING_HELD)
  })
})

/** Sets the version of a database and tells the one before. */
function setVersion(file: string, version: number): number {
  using db = new DatabaseSync(file)
  const before = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  db.exec(`PRAGMA user_version = ${version}`)
  return before
}
