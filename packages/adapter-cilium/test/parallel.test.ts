import { setTimeout as realPause } from 'node:timers/promises'
import { DEFAULT_LIMITS, noDatapath } from '@cni-offload/testing/cilium'
import { describe, expect, it } from 'vitest'
import { ManualClock } from './clocks.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const PODS = 64
/** kubelet gives up on a sandbox after twice its request timeout of two minutes. */
const DEADLINE_MS = 240_000
/** After so long without anything happening, everybody waits for time to pass. */
const QUIET_MS = 20

/** Where each pod takes a process, that takes long. */
const MODES = process.env['E2E_EVERYTHING'] === '1' ? (['agent-api', 'splice'] as const) : (['agent-api'] as const)

describe.skipIf(!isRoot)(`many pods at the same time ${NEEDS_ROOT}`, { timeout: 300_000 }, () => {
  it.each(MODES)(`${PODS} attaches against the limits of a stock agent end within the deadline of the CNI, mode %s`, async (mode) => {
    const clock = new ManualClock()
    await using lab = await Lab.create(PODS, { limits: DEFAULT_LIMITS, clock, buildMs: 200, datapath: noDatapath })
    await lab.start(mode === 'splice' ? await lab.splice() : lab.agentApi)
    let done = false
    const all = Promise.all(
      lab.bench.ports.map((_port, index) => lab.adapter.attach(lab.request(index), ctx(AbortSignal.timeout(280_000)))),
    ).finally(() => (done = true))
    const seen = (): string => `${lab.agent.requests.length} ${clock.sleeping} ${lab.agent.endpoints.length}`
    while (!done) {
      const before = seen()
      await realPause(QUIET_MS)
      if (seen() === before) clock.leap(30_000)
    }
    const results = await all
    process.stdout.write(`${PODS} attaches took ${Math.round(clock.monotonic() / 1000)} s of the agent's time\n`)
    expect(clock.monotonic()).toBeLessThan(DEADLINE_MS)
    expect(new Set(results.flatMap(({ ips }) => ips.map(({ address }) => address))).size).toBe(2 * PODS)
    expect(lab.agent.endpoints).toHaveLength(PODS)
    expect(lab.agent.requests.filter(({ status }) => status === 429)).toEqual([])
  })
})
