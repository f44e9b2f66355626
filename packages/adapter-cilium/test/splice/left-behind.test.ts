import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AttachmentStore } from '@cni-offload/adapter-delegate'
import { type Clock, OffloadError, systemClock } from '@cni-offload/sdk'
import { installFakeCiliumCni } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { FastClock, ManualClock } from '../clocks.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from '../lab.ts'

const RANGES = { ipv4: '10.66.0.0/29', ipv6: 'fd66::/125' }
/** As an agent answers that has not taken stock since its start. */
const STALE = { cilium: { state: 'Ok' }, ipam: { allocations: {} } }
let lab: Lab
const patiently = (): ReturnType<typeof ctx> => ctx(AbortSignal.timeout(60_000))
const attach = async (index: number): Promise<unknown> => await lab.adapter.attach(lab.request(index), patiently())
const detach = async (index: number): Promise<void> => await lab.adapter.detach({ key: lab.request(index).key }, patiently())
const open = async (ports: number, clock: Clock = new FastClock(50)): Promise<void> => {
  lab = await Lab.create(ports, { ranges: RANGES, anyPod: false, clock })
  await lab.start(await lab.splice())
}
/** The agent knows of no pod, and so restores no endpoint. */
const restartAgent = async (): Promise<void> => {
  await lab.agent.stop()
  await lab.agent.start()
}
afterEach(() => lab[Symbol.asyncDispose]())

describe.skipIf(!isRoot)(`nothing is left behind ${NEEDS_ROOT}`, { timeout: 120_000 }, () => {
  it('of an address that was kept for a running pod which ends before it has its endpoint back', async () => {
    await open(2)
    await attach(0)
    await restartAgent()
    await attach(1)
    expect(Object.keys(lab.agent.allocations), 'the running pod’s are kept for it').toHaveLength(4)
    for (const index of [0, 1]) await detach(index)
    expect([lab.agent.endpoints, lab.agent.allocations]).toEqual([[], {}])
  })

  it.each(['goes on', 'is restarted'])('of a running pod whose endpoint could not be made again, the adapter %s', async (adapter) => {
    await open(1)
    const had = await lab.adapter.attach(lab.request(0), patiently())
    await restartAgent()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.del', dev: (await lab.devices())[0] ?? '' }])
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status: 500, body: 'no' } })
    await expect(lab.adapter.attach({ ...lab.request(0), had }, patiently())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
    expect(Object.keys(lab.agent.allocations)).toHaveLength(2)
    if (adapter === 'is restarted') await lab.start(await lab.splice())
    await detach(0)
    expect([lab.agent.endpoints, lab.agent.allocations, await lab.devices()]).toEqual([[], {}, []])
  })

  it('of a running pod whose endpoint could not be made twice, the second time because the agent has not taken stock since', async () => {
    await open(1)
    await attach(0)
    await restartAgent()
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status: 500, body: 'no' } })
    await expect(attach(0)).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
    lab.agent.faults.add({ operation: 'GET /healthz', times: 9, effect: { kind: 'answer', status: 200, body: STALE } })
    await expect(attach(0)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    await detach(0)
    expect(lab.agent.allocations).toEqual({})
  })

  it('but the address of a running pod that somebody else has got stays with him, though the agent has not taken stock since', async () => {
    await open(1)
    await attach(0)
    await restartAgent()
    lab.agent.occupy('kube-system/others', 1)
    const before = lab.agent.allocations
    lab.agent.faults.add({ operation: 'GET /healthz', times: 9, effect: { kind: 'answer', status: 200, body: STALE } })
    await expect(attach(0)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    await detach(0)
    expect(lab.agent.allocations).toEqual(before)
  })

  it('to be deleted later, when an endpoint with the address of a running pod cannot be deleted at once', async () => {
    await open(2)
    await attach(0)
    await restartAgent()
    const before = lab.agent.requests.length
    // From 1.20 on the first is the plugin's own.
    lab.agent.faults.add({ operation: 'DELETE /endpoint/{id}', times: 2, effect: { kind: 'answer', status: 429, body: 'too many' } })
    await attach(1)
    const asked = lab.agent.requests.slice(before).map(({ operation, status }) => `${operation} ${status}`)
    const [deleted, made] = asked.filter((line) => /^(PUT|DELETE) \/endpoint\/\{id\}/.test(line)).slice(-2)
    expect(deleted, asked.join('\n')).toMatch(/^DELETE .* (200|404)$/)
    expect(made).toBe('PUT /endpoint/{id} 201')
    expect(lab.agent.endpoints).toHaveLength(1)
  })

  it.each(['never does', 'does later'])('of a plugin that was killed before the agent made the endpoint, which it %s', async (agent) => {
    const clock = new ManualClock()
    await open(1, clock)
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'hang' } })
    const gone = new AbortController()
    const outcome = lab.adapter.attach(lab.request(0), { ...patiently(), signal: gone.signal })
    await expect.poll(() => lab.agent.count('PUT /endpoint/{id}'), { timeout: 40_000 }).toBe(1)
    gone.abort(new OffloadError('DEADLINE_EXCEEDED', 'the deadline passed'))
    await expect(outcome).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const { containerId, ifName } = lab.request(0).key
    if (agent === 'does later')
      await lab.agent.makeEndpoint({ state: 'waiting-for-identity', 'container-id': containerId, 'container-interface-name': ifName })
    expect(Object.keys(lab.agent.allocations), 'what the plugin took may be on its way to somebody else').toHaveLength(2)
    // Two addresses that would expire, and what is due.
    await expect.poll(() => clock.sleeping, { timeout: 40_000 }).toBe(3)
    clock.advance(20_000)
    await expect.poll(() => lab.agent.endpoints, { timeout: 40_000 }).toEqual([])
    if (agent === 'never does') await expect.poll(() => lab.agent.allocations, { timeout: 40_000 }).toEqual({})
  })

  it('where the plugin of an old release cannot open the namespace that is gone', async () => {
    await open(1)
    const fake = await installFakeCiliumCni(join(lab.folder, 'fake'))
    const folder = join(lab.folder, 'old')
    await mkdir(folder)
    const says = `{"code":999,"msg":"opening netns pinned at $CNI_NETNS: open $CNI_NETNS: no such file or directory"}`
    await writeFile(
      join(folder, 'cilium-cni'),
      `#!/bin/sh\n[ "$CNI_COMMAND" = DEL ] && [ ! -e "$CNI_NETNS" ] && echo '${says}' && exit 1\nexec '${fake}'\n`,
    )
    await chmod(join(folder, 'cilium-cni'), 0o755)
    await lab.start(await lab.splice({ cniPath: [folder] }))
    await detach(0)
    await attach(0)
    await lab.proxy(0).dismantle()
    await detach(0)
    await detach(0)
    expect([lab.agent.endpoints, lab.agent.allocations, await lab.devices()]).toEqual([[], {}, []])
  })
})

describe('an adapter that could not be made', () => {
  it('holds nothing, so that the next attempt succeeds', async () => {
    lab = await Lab.create(0, { ranges: RANGES })
    await mkdir(lab.deps.stateDir)
    const other = new AttachmentStore(join(lab.deps.stateDir, 'delegate.db'), systemClock)
    const options = await lab.splice()
    await expect(lab.configured(options)).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
    other[Symbol.dispose]()
    await (await lab.configured(options))[Symbol.asyncDispose]?.()
  })
})
