import type { ResyncEvent } from '@cni-offload/protocol'
import { type AttachResult, formatAttachmentKey, type HostDevice, OffloadError, type RepairRecord } from '@cni-offload/sdk'
import { TestNetns } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HostInspection, HostLimits } from '../../src/index.ts'
import { request } from '../support/call.ts'
import { FakeAgent } from '../support/fake-agent.ts'
import { HostLab } from '../support/lab.ts'

const QUICK: Partial<HostLimits> = { reconcileMs: 20, repairBurst: 100, repairEveryMs: 1, repairPauseMs: 1, repairPauseMaxMs: 50 }
const SOON = { timeout: 60_000, interval: 20 }

describe.skipIf(process.getuid?.() !== 0)('the reconciler of the host (needs root: makes network namespaces and links)', () => {
  let lab: HostLab
  const agent = new FakeAgent()
  let refused: string | undefined
  let unwell = false

  beforeAll(async () => {
    const device = (real: HostDevice): HostDevice =>
      new Proxy(real, {
        get: (target, name: keyof HostDevice) => {
          if (name === 'release')
            return async (...args: Parameters<HostDevice['release']>) => {
              if (refused !== undefined) throw new OffloadError('HARDWARE_FAILURE', refused)
              await target.release(...args)
            }
          if (name === 'discover')
            return async (...args: Parameters<HostDevice['discover']>) =>
              (await target.discover(...args)).map((vf) => (unwell ? { ...vf, health: 'unhealthy' as const } : vf))
          return typeof target[name] === 'function' ? (target[name] as () => unknown).bind(target) : target[name]
        },
      })
    lab = await HostLab.start({ agent, vfs: 1, limits: QUICK, device })
  }, 60_000)
  afterAll(() => lab?.[Symbol.asyncDispose]())

  const records = async (matches: (record: RepairRecord) => boolean): Promise<RepairRecord[]> =>
    (await lab.inspect()).repairs.filter(matches)
  const health = async (): Promise<string | undefined> => (await lab.inspect()).leases[0]?.health
  const isHome = async (): Promise<boolean> => (await lab.net.link(lab.hostNetns.path, 'soft0v0')) !== undefined

  it('brings a VF home that nobody has; until then it is leased to nobody', async () => {
    await using elsewhere = await TestNetns.create(lab.net, 'els')
    refused = 'the card is busy'
    await lab.net.apply(lab.hostNetns.path, [{ op: 'link.move', dev: 'soft0v0', netns: elsewhere.path, name: 'lost' }])
    await expect.poll(() => records(({ outcome }) => outcome === 'failed'), SOON).not.toEqual([])
    const [failed] = await records(({ outcome }) => outcome === 'failed')
    expect(failed).toMatchObject({ action: 'reclaim', subject: 'vf soft0/0', reason: 'the card is busy; it is not leased' })
    expect(await health()).toBe('unhealthy')
    await using pod = await lab.pod()
    const answer = await lab.call('ADD', pod)
    expect(JSON.parse(answer.output)).toMatchObject({ code: 11, msg: expect.stringContaining('no VF is free') as string })
    const { failures, dpu } = JSON.parse((await request(lab.socket, { v: 1, kind: 'inspect', dpu: true })).output) as HostInspection
    expect(failures).toMatchObject([{ verb: 'ADD', containerId: pod.containerId, pod: pod.identity, code: 'NO_FREE_VF' }])
    expect(dpu).toEqual({ attachments: [] })
    refused = undefined
    await expect.poll(() => records(({ action, outcome }) => action === 'reclaim' && outcome === 'repaired'), SOON).toHaveLength(1)
    expect(await isHome()).toBe(true)
    expect(await health()).toBe('healthy')
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('does not lease a VF that the hardware calls unhealthy, until it is well', async () => {
    unwell = true
    await expect.poll(health, SOON).toBe('unhealthy')
    expect(await records(({ action }) => action === 'report')).toMatchObject([{ subject: 'vf soft0/0', outcome: 'reported' }])
    unwell = false
    await expect.poll(health, SOON).toBe('healthy')
  }, 120_000)

  it('lets a running pod follow what the network was changed to, and takes that over', async () => {
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    const id = formatAttachmentKey(pod.key('podnet'))
    const before = agent.results.get(id)!
    const after: AttachResult = {
      ...before,
      mtu: 1300,
      routes: [
        { dst: '10.50.0.0/16', gw: '10.77.0.1' },
        { dst: '::/0', gw: 'fd77::1' },
      ],
    }
    agent.resync = async function* (wired): AsyncGenerator<ResyncEvent> {
      for await (const { key } of wired) yield { key, action: 'kept', result: after }
    }
    // A route that is nobody's business stays.
    await lab.net.apply(pod.path, [{ op: 'route.add', dev: 'eth0', route: { dst: '192.0.2.0/24', gw: '10.77.0.1' } }])
    agent.become('unreachable')
    agent.become('ready')
    await expect.poll(() => records(({ action }) => action === 'update'), SOON).toHaveLength(1)
    const [record] = await records(({ action }) => action === 'update')
    expect(record).toMatchObject({ outcome: 'repaired', found: expect.arrayContaining(['the MTU is 1300 instead of 1400']) as string[] })
    expect((await lab.net.link(pod.path, 'eth0'))?.mtu).toBe(1300)
    const routes = (await lab.net.routes(pod.path, 'eth0')).map(({ dst }) => dst).toSorted()
    expect(routes).toEqual(['10.50.0.0/16', '192.0.2.0/24', '::/0'])
    expect((await lab.inspect()).attachments[0]?.mtu).toBe(1300)
    // Another interface has taken the name: it is not the pod's VF.
    const other = { ...after, mtu: 1350 }
    agent.resync = async function* (wired): AsyncGenerator<ResyncEvent> {
      for await (const { key } of wired) yield { key, action: 'kept', result: other }
    }
    await using elsewhere = await TestNetns.create(lab.net, 'els')
    await lab.net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: elsewhere.path, name: 'hidden' }])
    await lab.net.apply(pod.path, [{ op: 'link.add-bridge', dev: 'eth0', mtu: 1500 }])
    // Soon after a repair the attachment is left alone for a moment.
    const told = async (): Promise<RepairRecord[]> => {
      agent.become('unreachable')
      agent.become('ready')
      return await records(({ found }) => found.some((text) => text.includes("may not be the pod's VF")))
    }
    await expect.poll(told, SOON).not.toEqual([])
    expect((await lab.net.link(pod.path, 'eth0'))?.mtu).toBe(1500)
    await lab.net.apply(pod.path, [{ op: 'link.del', dev: 'eth0' }])
    await lab.net.apply(elsewhere.path, [{ op: 'link.move', dev: 'hidden', netns: pod.path, name: 'eth0' }])
    agent.resync = async function* (wired): AsyncGenerator<ResyncEvent> {
      for await (const { key } of wired) yield { key, action: 'kept', result: after }
    }
    // The next one finds nothing to do.
    agent.become('unreachable')
    agent.become('ready')
    await expect.poll(async () => (await lab.inspect()).agent.connected, SOON).toBe(true)
    expect(await records(({ action }) => action === 'update')).toHaveLength(1)
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    expect(await lab.remains()).toEqual([])
  }, 120_000)
})
