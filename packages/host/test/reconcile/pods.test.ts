import type { LinuxNet, NetOp } from '@cni-offload/linux'
import { type HostDevice, OffloadError, type RepairRecord } from '@cni-offload/sdk'
import type { FakePod } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HostLimits } from '../../src/index.ts'
import { readPodInterface } from '../../src/wiring/compare.ts'
import { FakeAgent } from '../support/fake-agent.ts'
import { HostLab } from '../support/lab.ts'

const QUICK: Partial<HostLimits> = { reconcileMs: 20, repairBurst: 100, repairEveryMs: 1, repairPauseMs: 30, repairPauseMaxMs: 60_000 }
const NEIGHBOUR = { ip: '10.77.0.9', mac: '02:00:00:00:00:99' }

describe.skipIf(process.getuid?.() !== 0)('the reconciler of the host (needs root: makes network namespaces and links)', () => {
  let lab: HostLab
  /** What goes wrong, if anything. */
  const wrong = { refuse: undefined as string | undefined, hang: undefined as Promise<void> | undefined }

  beforeAll(async () => {
    const agent = new FakeAgent()
    agent.result = { neighbours: [NEIGHBOUR] }
    lab = await HostLab.start({ agent, vfs: 6, limits: QUICK, net: spoiledNet, device: slowDevice })
  }, 60_000)
  afterAll(() => lab?.[Symbol.asyncDispose]())

  const spoiledNet = (real: LinuxNet): LinuxNet =>
    new Proxy(real, {
      get: (target, name: keyof LinuxNet) => {
        if (name !== 'apply') return typeof target[name] === 'function' ? (target[name] as () => unknown).bind(target) : target[name]
        return async (path: string, ops: readonly NetOp[]) => {
          if (wrong.refuse === path && ops[0]?.op === 'route.add') throw new OffloadError('KERNEL_REFUSED', 'EPERM')
          await target.apply(path, ops)
        }
      },
    })

  const slowDevice = (real: HostDevice): HostDevice =>
    new Proxy(real, {
      get: (target, name: keyof HostDevice) => {
        if (name !== 'release') return typeof target[name] === 'function' ? (target[name] as () => unknown).bind(target) : target[name]
        return async (...args: Parameters<HostDevice['release']>) => {
          await target.release(...args)
          await wrong.hang
        }
      },
    })

  const added = async (name: string): Promise<FakePod> => {
    const pod = await lab.pod(name)
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    return pod
  }

  /** All that a pod has of its network, for comparisons. */
  const seen = async ({ path }: FakePod): Promise<string> => {
    const has = await readPodInterface(lab.net, path, 'eth0').catch(() => undefined)
    if (has === undefined) return 'nothing'
    const { mac, mtu, up } = has.link
    const addresses = has.addresses.filter((address) => !address.startsWith('fe80')).toSorted()
    const routes = has.routes.map(({ dst, gw }) => `${dst} ${gw}`).toSorted()
    return JSON.stringify({ mac, mtu, up, addresses, routes, neighbours: await lab.net.neighbours(path, 'eth0').catch(() => []) })
  }

  const becomes = async (pod: FakePod, wanted: string): Promise<void> => {
    await expect.poll(() => seen(pod), { timeout: 60_000, interval: 20 }).toBe(wanted)
  }

  const records = async (pod: FakePod): Promise<RepairRecord[]> =>
    (await lab.inspect()).repairs.filter(({ key }) => key?.containerId === pod.containerId)

  const macOf = async (pod: FakePod): Promise<string> =>
    (await lab.inspect()).attachments.find(({ key }) => key.containerId === pod.containerId)?.mac ?? ''

  /** Waits for the first record of a pod that matches. */
  const recorded = async (pod: FakePod, matches: Partial<RepairRecord>): Promise<RepairRecord> => {
    const match = async (): Promise<RepairRecord | undefined> =>
      (await records(pod)).find((record) => Object.entries(matches).every(([name, value]) => record[name as keyof RepairRecord] === value))
    await expect.poll(match, { timeout: 60_000, interval: 20 }).toBeDefined()
    return (await match())!
  }

  /** Lets the reconciler go round: it repairs another pod twice. */
  const round = async (): Promise<void> => {
    await using canary = await added('canary')
    const before = await seen(canary)
    for (let turn = 0; turn < 2; turn++) {
      await lab.net.apply(canary.path, [{ op: 'neigh.del', dev: 'eth0', ip: NEIGHBOUR.ip }])
      await becomes(canary, before)
    }
    await lab.call('DEL', canary)
  }

  it('gives a pod back what it has lost, and tells what it was', async () => {
    await using pod = await added('loses')
    const before = await seen(pod)
    const losses: [NetOp, string][] = [
      [{ op: 'addr.flush', dev: 'eth0' }, 'address 10.77.0.2/24 is missing'],
      [{ op: 'route.del', dev: 'eth0', route: { dst: '0.0.0.0/0', gw: '10.77.0.1' } }, 'route 0.0.0.0/0 via 10.77.0.1 is missing'],
      [{ op: 'route.del', dev: 'eth0', route: { dst: '::/0', gw: 'fd77::1' } }, 'route ::/0 via fd77::1 is missing'],
      [{ op: 'neigh.del', dev: 'eth0', ip: NEIGHBOUR.ip }, 'neighbour 10.77.0.9 is missing'],
      [{ op: 'link.set', dev: 'eth0', up: false }, 'eth0 is down'],
    ]
    for (const [loss, phrase] of losses) {
      await lab.net.apply(pod.path, [loss])
      expect(await seen(pod)).not.toBe(before)
      await becomes(pod, before)
      await expect.poll(async () => (await records(pod)).at(-1)?.found, { timeout: 60_000 }).toContain(phrase)
    }
    const all = await records(pod)
    expect(all.map(({ action, outcome, times }) => `${action} ${outcome} ${times}`)).toEqual(
      losses.map((_, n) => `configure repaired ${n + 1}`),
    )
    expect(all[0]).toMatchObject({ subject: `podnet/${pod.containerId}/eth0`, key: pod.key('podnet') })
    const metrics = await (await fetch(`http://127.0.0.1:${await lab.host.metricsListening}/metrics`)).text()
    expect(metrics).toMatch(/^cni_offload_host_reconciler_actions_total\{action="configure",outcome="repaired"\} 5$/m)
    const pauses = all.slice(1).map(({ at }, n) => at - all[n]!.at)
    for (const [n, pause] of pauses.entries()) expect(pause, 'it does not fight').toBeGreaterThanOrEqual(30 * 2 ** n - 1)
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('puts a VF back into its pod that was moved home', async () => {
    await using pod = await added('moved')
    const before = await seen(pod)
    const { vf } = (await lab.inspect()).attachments.find(({ key }) => key.containerId === pod.containerId)!
    await lab.net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: lab.hostNetns.path, name: vf.replace('/', 'v') }])
    await becomes(pod, before)
    expect(await recorded(pod, { action: 'return' })).toMatchObject({ outcome: 'repaired', times: 1 })
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('reports MAC and MTU once and leaves them: a later plugin may have set them', async () => {
    await using pod = await added('resized')
    await lab.net.apply(pod.path, [{ op: 'link.set', dev: 'eth0', mtu: 1300 }])
    expect(await recorded(pod, { action: 'report' })).toMatchObject({ outcome: 'reported', found: ['MTU is 1300 instead of 1400'] })
    await round()
    expect(await records(pod)).toHaveLength(1)
    expect((await lab.net.link(pod.path, 'eth0'))?.mtu).toBe(1300)
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('does not touch what has the name of a namespace that is gone', async () => {
    await using pod = await added('gone')
    const { vf } = (await lab.inspect()).attachments.find(({ key }) => key.containerId === pod.containerId)!
    // The VF is saved from the end of the namespace, so that it lies at home, ready to be taken for one that was moved.
    const name = pod.path.slice(pod.path.lastIndexOf('/') + 1)
    await lab.net.apply(pod.path, [{ op: 'link.move', dev: 'eth0', netns: lab.hostNetns.path, name: vf.replace('/', 'v') }])
    await lab.net.deleteNetns(name)
    await lab.net.createNetns(name)
    expect(await recorded(pod, { action: 'report' })).toMatchObject({
      found: [`its network namespace ${pod.path} is gone`],
      reason: expect.stringContaining('DEL') as string,
    })
    await round()
    expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('reports an interface that is not the VF, and a VF that is nowhere', async () => {
    await using pod = await added('renamed')
    const { vf } = (await lab.inspect()).attachments.find(({ key }) => key.containerId === pod.containerId)!
    await lab.net.apply(pod.path, [
      { op: 'link.set', dev: 'eth0', up: false },
      { op: 'link.set', dev: 'eth0', name: 'other' },
    ])
    expect(await recorded(pod, { action: 'report' })).toMatchObject({
      found: [`there is no interface eth0 in ${pod.path}, and VF ${vf} is not at home, either`],
    })
    await lab.net.apply(pod.path, [
      { op: 'link.add-veth', dev: 'eth0', peer: { name: 'peer' } },
      { op: 'link.move', dev: 'other', netns: lab.hostNetns.path, name: vf.replace('/', 'v') },
    ])
    const phrase = `eth0 in ${pod.path} is not VF ${vf}`
    await expect.poll(async () => (await records(pod)).some(({ found }) => found[0] === phrase), { timeout: 60_000 }).toBe(true)
    expect(await lab.net.addresses(pod.path, 'eth0')).toEqual([])
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  describe('configures nothing that is not provably the VF', () => {
    /** As a virtual machine in a pod does it: the VF becomes a port, and something of its own gets its name and its IPv4 address. */
    const replaced = async (pod: FakePod, substitute: readonly string[]): Promise<void> => {
      const ip = (...args: string[]): Promise<string> => pod.netns.output(['ip', ...args])
      const [ipv4] = (await lab.net.addresses(pod.path, 'eth0')).filter((address) => !address.includes(':'))
      await ip('link', 'set', 'eth0', 'down')
      await ip('link', 'set', 'eth0', 'name', 'eth0-nic')
      await ip('link', 'add', 'k6t', 'type', 'bridge')
      await ip('link', 'set', 'eth0-nic', 'master', 'k6t')
      await ip('link', 'add', 'eth0', ...substitute)
      await ip('addr', 'add', ipv4 ?? '', 'dev', 'eth0')
      await ip('link', 'set', 'eth0', 'up')
    }
    const staysAsItIs = async (pod: FakePod, phrase: string): Promise<void> => {
      const before = await seen(pod)
      await expect.poll(async () => (await records(pod)).flatMap(({ found }) => found), { timeout: 60_000 }).toContain(phrase)
      await round()
      expect(await seen(pod)).toBe(before)
      expect(new Set((await records(pod)).map(({ action }) => action))).toEqual(new Set(['report']))
      expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    }

    it('where something with another MAC has its name', async () => {
      await using pod = await added('substituted')
      await replaced(pod, ['address', '02:00:00:00:66:01', 'type', 'veth', 'peer', 'name', 'tap0'])
      await staysAsItIs(pod, `MAC of eth0 is 02:00:00:00:66:01 instead of ${await macOf(pod)}`)
    }, 120_000)

    it('where something has its name and its MAC', async () => {
      await using pod = await added('doubled')
      await replaced(pod, ['address', await macOf(pod), 'type', 'bridge'])
      await staysAsItIs(pod, 'eth0 is a bridge interface')
    }, 120_000)

    it('where it has become a port of something that has its addresses', async () => {
      await using pod = await added('enslaved')
      await pod.netns.output(['ip', 'link', 'add', 'br0', 'type', 'bridge'])
      await pod.netns.output(['ip', 'link', 'set', 'eth0', 'master', 'br0'])
      await lab.net.apply(pod.path, [{ op: 'addr.flush', dev: 'eth0' }])
      await staysAsItIs(pod, 'eth0 is a port of another interface')
    }, 120_000)
  })

  it('says why it could not repair, and tries again', async () => {
    await using pod = await added('refused')
    const before = await seen(pod)
    wrong.refuse = pod.path
    await lab.net.apply(pod.path, [{ op: 'route.del', dev: 'eth0', route: { dst: '0.0.0.0/0', gw: '10.77.0.1' } }])
    expect(await recorded(pod, { outcome: 'failed' })).toMatchObject({ reason: 'EPERM', action: 'configure' })
    wrong.refuse = undefined
    await becomes(pod, before)
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
  }, 120_000)

  it('leaves an attachment to a DEL that works on it', async () => {
    await using pod = await added('ending')
    const gate = Promise.withResolvers<void>()
    wrong.hang = gate.promise
    const ending = lab.call('DEL', pod)
    await expect.poll(() => lab.net.link(pod.path, 'eth0'), { timeout: 60_000 }).toBeUndefined()
    wrong.hang = undefined
    await round()
    expect(await lab.net.link(pod.path, 'eth0')).toBeUndefined()
    gate.resolve()
    expect((await ending).exitCode).toBe(0)
    expect(await records(pod)).toEqual([])
  }, 120_000)

  it('leaves nothing', async () => {
    expect(await lab.remains()).toEqual([])
  })
})
