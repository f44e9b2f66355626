import type { CniOutcome, DaemonRole, LabNode } from '@cni-offload/cli'
import { systemClock } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const WORKERS = 8
/** As the executable waits where nothing else is said, and then some for a busy machine. */
const PATIENT = { CNI_OFFLOAD_CONNECT_MS: '60000' }

describe.skipIf(needsRoot)('daemons that are restarted under load (needs root for namespaces)', () => {
  let e2e: E2eLab

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: WORKERS, adapter: 'hello' })
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  const restart = async (node: LabNode, role: DaemonRole): Promise<void> => {
    await e2e.lab.kill(node, role, 'SIGTERM')
    await e2e.lab.start(node, role)
  }

  test.each<[string, (node: LabNode) => Promise<unknown>]>([
    ['the host daemon, twice', async (node) => [await restart(node, 'host'), await restart(node, 'host')]],
    ['the agent', (node) => restart(node, 'agent')],
    ['both at once', (node) => Promise.all([restart(node, 'host'), restart(node, 'agent')])],
  ])(
    '%s: no call fails, nothing is left',
    async (what, act) => {
      const node = e2e.lab.node(1)
      let calls = 0
      let slowest = 0
      const failures: (CniOutcome & { verb: string })[] = []
      const over = new AbortController()
      const busy = Promise.withResolvers<void>()
      const call = async (verb: string, pod: string, conf: object = {}): Promise<CniOutcome> => {
        const began = systemClock.monotonic()
        const outcome = await e2e.call(node, verb, pod, { conf, env: PATIENT })
        slowest = Math.max(slowest, systemClock.monotonic() - began)
        if (outcome.exitCode !== 0) failures.push({ verb, ...outcome })
        if (++calls === 2 * WORKERS) busy.resolve()
        return outcome
      }
      const work = async (worker: number): Promise<void> => {
        const pod = `w${worker}`
        await e2e.lab.createPod(pod)
        while (!over.signal.aborted) {
          const { exitCode, json } = await call('ADD', pod)
          if (exitCode === 0) await call('CHECK', pod, { prevResult: json })
          await call('DEL', pod)
        }
        await e2e.lab.deletePod(pod)
      }
      const workers = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)))
      await busy.promise
      try {
        await act(node)
        // Some calls more, with what has come back.
        const enough = calls + 2 * WORKERS
        await expect.poll(() => calls, { timeout: 60_000, interval: 20 }).toBeGreaterThan(enough)
      } finally {
        over.abort()
        await workers
      }
      console.log(`${what}: ${calls} calls, the slowest took ${Math.round(slowest)} ms`)
      expect(failures).toEqual([])
      await expect.poll(() => e2e.held(node), { timeout: 30_000, interval: 200 }).toEqual(NOTHING_HELD)
    },
    180_000,
  )
})
