import type { LabNode } from '@cni-offload/cli'
import { systemClock } from '@cni-offload/sdk'
import { exec, ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot } from './fixture.ts'

/** Something that comes between host and agent, and its end. */
interface Outage {
  begin(node: LabNode): Promise<void>
  end(node: LabNode): Promise<void>
}

const nft = async (node: LabNode, script: string): Promise<void> => {
  const { code, stderr } = await exec(['ip', 'netns', 'exec', node.hostNetns, 'nft', '-f', '-'], { input: script })
  if (code !== 0) throw new Error(stderr)
}

/** Drops what passes the PF link; only host daemon and agent use it. */
const dropping = (...directions: readonly ('input' | 'output')[]): Outage => ({
  async begin(node) {
    const { hostname } = new URL(node.agentAddress.replace('tcp:', 'http:'))
    const chains = directions.map((hook) => {
      const side = hook === 'input' ? 'saddr' : 'daddr'
      return `chain ${hook} { type filter hook ${hook} priority 0; ip ${side} ${hostname} drop; }`
    })
    await nft(node, `table inet outage {\n${chains.join('\n')}\n}\n`)
  },
  end: (node) => nft(node, 'delete table inet outage'),
})

const FETCH = 'fetch(process.argv[1]).then((reply) => reply.text()).then((text) => process.stdout.write(text.trim()))'

/** Losses that look like a cut link to one side at first. */
const ONE_WAY: readonly (readonly [string, Outage])[] = [
  ['only what the agent sends is lost', dropping('input')],
  ['only what the host sends is lost', dropping('output')],
]

const OUTAGES: readonly (readonly [string, Outage])[] = [
  ...(EVERYTHING ? ONE_WAY : []),
  ['the link is cut', dropping('input', 'output')],
  [
    'the agent is stopped',
    {
      begin: async ({ agent }) => void process.kill(agent.pid!, 'SIGSTOP'),
      end: async ({ agent }) => void process.kill(agent.pid!, 'SIGCONT'),
    },
  ],
]

describe.skipIf(needsRoot)('host and agent lose each other (needs root for namespaces)', () => {
  let e2e: E2eLab

  let other: Record<string, any>

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: 4, adapter: 'hello' })
    const node = e2e.lab.node(1)
    ;[, other] = await Promise.all([e2e.addPod(node, 'a'), e2e.addPod(node, 'b')])
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  /** Whether a pod of a node reaches another one, in each family. */
  const reaching = async (from: string, to: Record<string, any>): Promise<boolean[]> =>
    await Promise.all(
      to['ips'].map(
        async ({ address }: { address: string }) =>
          (await ping(e2e.lab.podPath(from), address.replace(/\/.*/, ''), { count: 1, waitMs: 5_000 })).received === 1,
      ),
    )
  const health = async (node: LabNode): Promise<string> =>
    (await exec(['ip', 'netns', 'exec', node.dpuNetns, process.execPath, '-e', FETCH, new URL('/healthz', node.agent.metrics).href])).stdout

  test.each(OUTAGES)(
    '%s: told with the cause, pods go on, and it heals',
    async (what, outage) => {
      const node = e2e.lab.node(1)
      const status = () => e2e.call(node, 'STATUS', '', { conf: { cniVersion: '1.1.0' } })
      await expect.poll(async () => (await status()).exitCode, { timeout: 30_000, interval: 100 }).toBe(0)
      await e2e.addPod(node, 'ends')
      const began = systemClock.monotonic()
      const since = (): number => Math.round(systemClock.monotonic() - began)
      await outage.begin(node)
      try {
        await expect.poll(status, { timeout: 30_000, interval: 50 }).toMatchObject({ exitCode: 1, json: { code: 50 } })
        const noticed = since()
        await e2e.lab.createPod('late')
        const asked = since()
        const add = await e2e.call(node, 'ADD', 'late')
        const answered = since()
        expect(add, 'ADD fails with the cause').toMatchObject({ exitCode: 1, json: { code: 11, msg: expect.stringMatching(/agent/) } })
        expect(await e2e.call(node, 'DEL', 'ends'), 'DEL succeeds').toMatchObject({ exitCode: 0, stdout: '' })
        expect(await reaching('a', other), 'pods reach each other meanwhile').toEqual([true, true])
        if (what !== 'the agent is stopped')
          await expect.poll(() => health(node), { timeout: 30_000, interval: 200 }).toMatch(/^RUNNING, host lost for/)
        console.log(`${what}: STATUS tells after ${noticed} ms, an ADD fails within ${answered - asked} ms`)
      } finally {
        await outage.end(node)
      }
      const healing = systemClock.monotonic()
      await expect.poll(async () => (await status()).exitCode, { timeout: 60_000, interval: 100 }).toBe(0)
      console.log(`${what}: ready ${Math.round(systemClock.monotonic() - healing)} ms after it is over`)
      await expect
        .poll(() => e2e.held(node), { timeout: 60_000, interval: 200 })
        .toEqual({ attachments: 2, leases: 2, agentAttachments: 2, vfsAway: 2 })
      expect(await health(node)).toBe('RUNNING, host connected')
      expect(await reaching('a', other)).toEqual([true, true])
      await Promise.all(['ends', 'late'].map((pod) => e2e.lab.deletePod(pod)))
    },
    180_000,
  )
})
