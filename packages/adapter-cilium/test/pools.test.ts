import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AttachResult } from '@cni-offload/sdk'
import type { FakeCiliumOptions } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

const POOLS = { blue: { ipv4: '10.67.0.0/29', ipv6: 'fd67::/125' }, green: { ipv6: 'fd68::/125' } }
const OF_GREEN = { 'ipam.cilium.io/ip-pool': 'blue', 'ipam.cilium.io/ipv6-pool': 'green' }
const HELD = { 'blue/10.67.0.2': 'default/pod-0', 'green/fd68::2': 'default/pod-0' }

describe.skipIf(!isRoot)(`a running pod keeps addresses that are of several pools ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  let lab: Lab
  afterEach(() => lab[Symbol.asyncDispose]())

  const patiently = (): ReturnType<typeof ctx> => ctx(AbortSignal.timeout(60_000))
  const start = async (mode: string): Promise<unknown> => lab.start(mode === 'splice' ? await lab.splice() : lab.agentApi)
  const connected = async (mode: string, options: Partial<FakeCiliumOptions> = {}): Promise<AttachResult> => {
    lab = await Lab.create(2, {
      ...options,
      ranges: { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' },
      pools: POOLS,
      config: { ipamMode: 'multi-pool' },
    })
    for (const index of [0, 1]) await lab.agent.addPod({ ...lab.request(index).pod, annotations: OF_GREEN })
    await start(mode)
    const result = await lab.adapter.attach(lab.request(0), patiently())
    expect(lab.agent.allocations).toEqual(HELD)
    return result
  }
  const lost = (): Promise<void> => lab.agent.forget(lab.request(0).key.containerId)
  const detached = async (): Promise<void> => {
    await lab.adapter.detach({ key: lab.request(0).key }, patiently())
    expect([lab.agent.allocations, lab.agent.endpoints]).toEqual([{}, []])
  }

  it.each(['splice', 'agent-api'])('when the agent has lost its endpoint, and after an attempt that failed, mode %s', async (mode) => {
    const pod = await connected(mode)
    await lost()
    expect(lab.agent.allocations).toEqual({})
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status: 500, body: 'no' } })
    await expect(lab.adapter.attach({ ...lab.request(0), had: pod }, patiently())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
    expect(lab.agent.allocations).toEqual(HELD)
    // An agent that is restarted has forgotten those, too.
    await lab.agent.stop()
    await lab.agent.start()
    await start(mode)
    expect(await lab.adapter.attach({ ...lab.request(0), had: pod }, patiently())).toEqual(pod)
    expect(lab.agent.allocations).toEqual(HELD)
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    await detached()
  })

  it.each([
    ['splice', 'delegate.db', 'kept'],
    ['agent-api', 'cilium.db', 'pools'],
  ])('also one that an earlier version has attached, mode %s', async (mode, file, member) => {
    const pod = await connected(mode)
    await lab.stop()
    {
      using db = new DatabaseSync(join(lab.deps.stateDir, file))
      const { changes } = db
        .prepare('UPDATE attachments SET body = json_remove(body, ?) WHERE body ->> ? IS NOT NULL')
        .run(`$.${member}`, `$.${member}`)
      expect(changes).toBe(1)
    }
    await start(mode)
    expect(await lab.adapter.list(ctx()), 'which tells the pools').toEqual([lab.request(0).key])
    await lost()
    expect(await lab.adapter.attach({ ...lab.request(0), had: pod }, patiently())).toEqual(pod)
    expect(lab.agent.allocations).toEqual(HELD)
    await detached()
  })

  it('also when they are given to a new pod first, mode splice', async () => {
    await connected('splice', { poolSize: 1 })
    await lost()
    await expect(lab.adapter.attach(lab.request(1), patiently())).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect(lab.agent.allocations).toEqual(HELD)
    await detached()
  })

  it.each(['splice', 'agent-api'])(
    'also when the adapter has lost its memory, by the endpoint that is still there, mode %s',
    async (mode) => {
      const pod = await connected(mode)
      await lab.stop()
      await lab.proxy(0).dismantle()
      await lab.forgetState()
      await start(mode)
      expect(await lab.adapter.attach({ ...lab.request(0), had: pod }, patiently())).toEqual(pod)
      expect(lab.agent.allocations).toEqual(HELD)
      await detached()
    },
  )
})
