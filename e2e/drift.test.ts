import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { askCilium, askNode, inspectNode, LAB_ADAPTERS, type LabNode } from '@cni-offload/cli'
import type { NetOp } from '@cni-offload/linux'
import type { RepairRecord } from '@cni-offload/sdk'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const run = promisify(execFile)
const cli = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

const QUICK = { reconcileMs: 100, repairBurst: 100, repairEveryMs: 10, repairPauseMs: 20, repairPauseMaxMs: 300 }
const LIMITS = { host: { limits: QUICK }, agent: { limits: { ...QUICK, checkEveryMs: 100, checkAgainMs: 1_000 } } }
const SOON = { timeout: 60_000, interval: 50 }

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

const ADAPTERS = LAB_ADAPTERS.filter((adapter) => EVERYTHING || !adapter.startsWith('cilium'))

describe.skipIf(needsRoot).each(ADAPTERS)('drift under running pods, adapter %s (needs root for namespaces)', (adapter) => {
  let e2e: E2eLab
  let node: LabNode
  let addresses: string[]

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 1, vfs: 2, adapter, extra: LIMITS })
    node = e2e.lab.node(1)
    const [, b] = [await e2e.addPod(node, 'a'), await e2e.addPod(node, 'b')]
    addresses = b.ips.map(({ address }: { address: string }) => plain(address))
  }, 120_000)
  afterAll(() => e2e?.[Symbol.asyncDispose]())

  const reachable = async (): Promise<boolean> => {
    const answers = await Promise.all(addresses.map((address) => ping(e2e.lab.podPath('a'), address, { count: 1 })))
    return answers.every(({ received }) => received === 1)
  }

  /** What both sides have repaired of pod a. */
  const repairs = async (): Promise<(RepairRecord & { side: string })[]> => {
    const { dpu, repairs: host } = await askNode(node.socket)
    const agent = 'attachments' in dpu ? dpu.attachments.flatMap((one) => one.repairs) : []
    const all = [...host.map((one) => ({ ...one, side: 'host' })), ...agent.map((one) => ({ ...one, side: 'DPU' }))]
    return all.filter(({ key }) => key?.containerId === 'a')
  }

  const inPod =
    (...ops: NetOp[]) =>
    async (): Promise<void> =>
      e2e.net.apply(e2e.lab.podPath('a'), ops)

  /** Where the port of pod a lies. */
  const port = async (): Promise<{ netns: string; name: string; vf: string }> => {
    const { host, ports } = await inspectNode(e2e.lab, e2e.net, node)
    if ('error' in host) throw new Error(host.error)
    const { vf } = host.attachments.find(({ key }) => key.containerId === 'a')!
    const found = ports.find((candidate) => candidate.vf === vf)!
    return { netns: `/run/netns/${found.netns}`, name: adapter === 'hello' || adapter === 'sriov' ? found.port : 'vf0', vf }
  }

  const onPort =
    (...ops: ((dev: string) => NetOp)[]) =>
    async (): Promise<void> => {
      const { name, netns } = await port()
      await e2e.net.apply(
        netns,
        ops.map((op) => op(name)),
      )
    }

  const down = onPort((dev) => ({ op: 'link.set', dev, up: false }))

  const filter = async (): Promise<void> => {
    const { name, netns } = await port()
    await run('nsenter', [`--net=${netns}`, 'tc', 'filter', 'del', 'dev', name, 'ingress'])
  }

  /** Takes the CNI's ends on the DPU out of their bridge. */
  const branch = async (): Promise<void> => {
    const dpu = e2e.lab.netns(node, 'agent')
    const links = await e2e.net.links(dpu)
    const bridge = links.find(({ name }) => name === 'cni0')
    const ends = links.filter(({ kind, master }) => kind === 'veth' && master === bridge?.index)
    await e2e.net.apply(
      dpu,
      ends.map(({ name }) => ({ op: 'link.set', dev: name, master: null })),
    )
  }

  /** Deletes the devices of Cilium's endpoints. */
  const devices = async (): Promise<void> => {
    const dpu = e2e.lab.netns(node, 'agent')
    const ends = (await e2e.net.links(dpu)).filter(({ name }) => name.startsWith('lxc'))
    await e2e.net.apply(
      dpu,
      ends.map(({ name }) => ({ op: 'link.del', dev: name })),
    )
  }

  const endpoint = async (): Promise<void> => {
    const { cilium } = node
    if (cilium === undefined) throw new Error('there is no cilium-agent')
    expect(await askCilium(cilium, (client, caller) => client.deleteEndpoint('cni-attachment-id:a:eth0', caller))).toBe(true)
  }

  const home = async (): Promise<void> => {
    const { vf } = await port()
    await inPod({ op: 'link.move', dev: 'eth0', netns: e2e.lab.netns(node, 'host'), name: vf.replace('/', 'v') })()
  }

  const both: [string, () => Promise<void>, string][] = [
    ['its addresses are deleted', inPod({ op: 'addr.flush', dev: 'eth0' }), 'host configure'],
    [
      'its routes are deleted',
      inPod({ op: 'link.set', dev: 'eth0', up: false }, { op: 'link.set', dev: 'eth0', up: true }),
      'host configure',
    ],
    ['its interface is set down', inPod({ op: 'link.set', dev: 'eth0', up: false }), 'host configure'],
    ['its VF is moved back to the host', home, 'host return'],
  ]
  const spliced: typeof both = [
    ['its port is set down', down, 'DPU reattach'],
    ['a filter of the splice is deleted', filter, 'DPU reattach'],
    ['a qdisc of the splice is deleted', onPort((dev) => ({ op: 'redirect.clear', dev })), 'DPU reattach'],
    [
      'the interface of the CNI is deleted',
      async () => e2e.net.apply((await port()).netns, [{ op: 'link.del', dev: 'eth0' }]),
      'DPU reattach',
    ],
    ['the CNI lost its bridge', branch, 'DPU reattach'],
  ]
  const bridged: typeof both = [
    ['its port is set down', down, 'DPU reattach'],
    ['its port is taken out of the bridge', onPort((dev) => ({ op: 'link.set', dev, master: null })), 'DPU reattach'],
  ]

  const ofCilium: typeof both = [
    ['a filter of the splice is deleted', filter, 'DPU reattach'],
    ['the devices of the endpoints are deleted', devices, 'DPU reattach'],
    ['cilium-agent has lost its endpoint', endpoint, 'DPU reattach'],
  ]
  const guarded: typeof both = [
    ...bridged,
    ['what its port enforces is removed', onPort((dev) => ({ op: 'program.clear', dev })), 'DPU reattach'],
    ['its port is flooded', onPort((dev) => ({ op: 'bridge.port', dev, port: { flood: true } })), 'DPU reattach'],
  ]
  const spoilt = { sriov: guarded, delegate: [...spliced, ...both], hello: bridged, cilium: ofCilium, 'cilium-splice': ofCilium }

  test.each(spoilt[adapter])(
    'a pod is reached again after %s',
    async (_what, spoil, repair) => {
      const before = await e2e.net.netnsIdentity(e2e.lab.podPath('a'))
      await expect.poll(reachable, SOON).toBe(true)
      const known = new Set((await repairs()).map((record) => JSON.stringify(record)))
      await spoil()
      const news = async (): Promise<string[]> =>
        (await repairs())
          .filter((record) => !known.has(JSON.stringify(record)))
          .map(({ action, outcome, side }) => `${side} ${action} ${outcome}`)
      await expect.poll(news, SOON).toContain(`${repair} repaired`)
      await expect.poll(reachable, SOON).toBe(true)
      expect(await e2e.net.netnsIdentity(e2e.lab.podPath('a'))).toBe(before)
    },
    130_000,
  )

  test.skipIf(adapter !== 'delegate')(
    'the page about it tells all that was done, and the metrics count it',
    async () => {
      const { stdout } = await run(process.execPath, [cli, 'inspect', 'e2e/a', '--socket', node.socket])
      expect(stdout).toMatch(/^ {2}pod +e2e\/a$/m)
      expect(stdout).toMatch(/^ {2}host +wired, since /m)
      expect(stdout).toMatch(/^ {2}DPU +attached, port /m)
      expect(stdout).toMatch(/Z {2}DPU reattach repaired.*: ./)
      expect(stdout).toMatch(/Z {2}host return repaired.*: there is no interface eth0/)
      const all = await repairs()
      for (const [side, netns] of [
        ['host', e2e.lab.netns(node, 'host')],
        ['DPU', e2e.lab.netns(node, 'agent')],
      ] as const) {
        const url = side === 'host' ? node.host.metrics : node.agent.metrics
        const program = 'fetch(process.argv[1]).then((r) => r.text()).then((t) => process.stdout.write(t))'
        const { stdout: text } = await run('nsenter', [`--net=${netns}`, process.execPath, '-e', program, url])
        const counted = [...text.matchAll(/_reconciler_actions_total\{action="(?!report)\w+",outcome="repaired"\} (\d+)/g)].map(([, n]) =>
          Number(n),
        )
        const told = all.filter((record) => record.side === side && record.outcome === 'repaired').length
        expect(counted.reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(told)
        expect(told).toBeGreaterThan(0)
      }
      await expect(run(process.execPath, [cli, 'inspect', 'e2e/nobody', '--socket', node.socket])).rejects.toMatchObject({
        code: 1,
        stdout: expect.stringContaining('knows nothing of e2e/nobody') as string,
      })
    },
    120_000,
  )

  test('and nothing is left when the pods end', async () => {
    for (const pod of ['a', 'b']) expect(await e2e.call(node, 'DEL', pod)).toMatchObject({ exitCode: 0 })
    await expect.poll(() => e2e.held(node), SOON).toEqual(NOTHING_HELD)
  }, 120_000)
})
