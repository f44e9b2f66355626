import type { ResyncEvent } from '@cni-offload/protocol'
import { type AttachResult, formatAttachmentKey, type RepairRecord, type VfAdminSettings } from '@cni-offload/sdk'
import type { FakePod } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FakeAgent } from '../support/fake-agent.ts'
import { HostLab } from '../support/lab.ts'
import { FakeVfAdmin } from '../support/vf-admin.ts'

const QUICK = { reconcileMs: 20, repairBurst: 100, repairEveryMs: 1, repairPauseMs: 1, repairPauseMaxMs: 50 }
const SOON = { timeout: 60_000, interval: 20 }
const WANTED: VfAdminSettings = { vlan: { id: 100, qos: 0, protocol: '802.1q' }, trust: false }

describe.skipIf(process.getuid?.() !== 0)('the reconciler of the host (needs root: makes network namespaces and links)', () => {
  let lab: HostLab
  const agent = new FakeAgent()
  agent.result = { vf: WANTED }
  const admin = new FakeVfAdmin('vlan', 'trust')

  beforeAll(async () => {
    lab = await HostLab.start({ agent, vfs: 1, limits: QUICK, device: admin.inFrontOf })
  }, 60_000)
  afterAll(() => lab?.[Symbol.asyncDispose]())

  const has = (): VfAdminSettings | undefined => admin.settings.get('soft0/0')
  const records = async (matches: Partial<RepairRecord>): Promise<RepairRecord[]> =>
    (await lab.inspect()).repairs.filter((record) =>
      Object.entries(matches).every(([name, value]) => record[name as keyof RepairRecord] === value),
    )

  const withPod = async (work: (pod: FakePod) => Promise<void>): Promise<void> => {
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    await work(pod)
    admin.refuses = []
    admin.silent = false
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    expect(has()).toBeUndefined()
  }

  it('has settings of a VF enforced again that somebody has changed, and what its pod lacks besides', async () => {
    await withPod(async (pod) => {
      await lab.net.apply(pod.path, [{ op: 'addr.flush', dev: 'eth0' }])
      admin.settings.set('soft0/0', { ...WANTED, trust: true })
      await expect.poll(has, SOON).toEqual(WANTED)
      await expect.poll(() => lab.net.addresses(pod.path, 'eth0'), SOON).toHaveLength(2)
      await expect.poll(() => records({ action: 'configure', outcome: 'repaired' }), SOON).not.toEqual([])
      expect((await records({ action: 'configure' })).flatMap(({ found }) => found)).toContain('VF soft0/0: trust differs')
    })
  }, 120_000)

  it('says why that could not be done, and tries again', async () => {
    await withPod(async () => {
      admin.refuses = ['trust']
      admin.settings.set('soft0/0', { ...WANTED, trust: true })
      await expect.poll(() => records({ outcome: 'failed', reason: 'the driver refuses trust' }), SOON).not.toEqual([])
      admin.refuses = []
      await expect.poll(has, SOON).toEqual(WANTED)
    })
  }, 120_000)

  it('puts the interface of a pod right although the physical function cannot be asked', async () => {
    await withPod(async (pod) => {
      admin.silent = true
      await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', up: false }])
      await expect.poll(async () => (await lab.net.link(pod.path, 'eth0'))?.up, SOON).toBe(true)
      // It is noted once it was looked at again.
      const found = async (): Promise<string[]> => (await lab.inspect()).repairs.flatMap((record) => record.found)
      await expect.poll(found, SOON).toContain('the physical function cannot be asked')
    })
  }, 120_000)

  it('puts a VF back into its pod with its settings, before it can speak there', async () => {
    await withPod(async (pod) => {
      const up: unknown[] = []
      admin.before = async () => void up.push((await lab.net.link(pod.path, 'eth0'))?.up)
      await lab.net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: lab.hostNetns.path, name: 'soft0v0' }])
      await expect.poll(() => records({ action: 'return', outcome: 'repaired' }), SOON).not.toEqual([])
      expect(has()).toEqual(WANTED)
      expect(up[0]).toBe(false)
      admin.before = () => {}
    })
  }, 120_000)

  it('has settings enforced that the network has changed for a running pod, and reports one that is to go', async () => {
    await withPod(async (pod) => {
      const before = agent.results.get(formatAttachmentKey(pod.key('podnet')))!
      const hear = (vf: VfAdminSettings): void => {
        const result: AttachResult = { ...before, vf }
        agent.resync = async function* (wired): AsyncGenerator<ResyncEvent> {
          for await (const { key } of wired) yield { key, action: 'kept', result }
        }
        agent.become('unreachable')
        agent.become('ready')
      }
      hear({ ...WANTED, trust: true })
      await expect.poll(has, SOON).toEqual({ ...WANTED, trust: true })
      await expect.poll(() => records({ action: 'update', outcome: 'repaired' }), SOON).toHaveLength(1)
      const told = async (): Promise<string[]> => {
        hear({ trust: true })
        return (await records({ action: 'report' })).flatMap(({ found }) => found)
      }
      await expect.poll(told, SOON).toContainEqual(expect.stringContaining('not to enforce vlan any more'))
      expect(has()).toEqual({ ...WANTED, trust: true })
    })
  }, 120_000)

  it('leaves nothing', async () => {
    expect(await lab.remains()).toEqual([])
  })
})
