import { mkdtemp, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { cilium } from '@cni-offload/adapter-cilium'
import { createAgent } from '@cni-offload/agent'
import { plugCard, softDpu, softHost, unplugCard } from '@cni-offload/hw-soft'
import { createLinuxNet } from '@cni-offload/linux'
import { type AttachCall, type AttachReply, createOffloadClient, type OffloadClient, type ResyncEvent } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { type AttachResult, silentLogger, systemClock } from '@cni-offload/sdk'
import { type FakePod, fakePod, isRoot, reaches, ROOT_REASON, TestNetns, uniqueName, wirePod } from '@cni-offload/testing'
import { FakeCiliumAgent, NetnsDatapath } from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const PATIENCE_MS = 60_000
const context = (): { readonly signal: AbortSignal; readonly timeoutMs: number } => ({
  signal: AbortSignal.timeout(PATIENCE_MS),
  timeoutMs: PATIENCE_MS,
})

/** The agent of the DPU with a cilium-agent beside it, and a host with two pods. */
describe.skipIf(!isRoot())(`pods of a cilium-agent on the DPU (${ROOT_REASON})`, () => {
  let stack: AsyncDisposableStack
  let ciliumAgent: FakeCiliumAgent
  let client: OffloadClient
  let pods: readonly FakePod[]
  let calls: readonly AttachCall[]
  let results: readonly AttachResult[]

  beforeEach(async () => {
    stack = new AsyncDisposableStack()
    const dir = await mkdtemp(join(tmpdir(), 'cilium-e2e-'))
    stack.defer(() => rm(dir, { recursive: true, force: true }))
    const net = stack.use(createLinuxNet())
    const [host, dpu] = [stack.use(await TestNetns.create(net, 'ch')), stack.use(await TestNetns.create(net, 'cd'))]
    const card = { net, device: uniqueName('c').slice(0, 8), vfs: 2, node: hostname(), hostNetns: host.path, dpuNetns: dpu.path }
    await plugCard(card)
    stack.defer(() => unplugCard(card))
    // Nobody tells it of the pods, so that it drops their endpoints whenever it is restarted.
    const datapath = new NetnsDatapath(net, dpu.path)
    ciliumAgent = stack.use(await FakeCiliumAgent.start({ socket: join(dir, 'cilium.sock'), datapath, nodeName: 'node-1' }))

    const authority = join(dir, 'ca')
    await createAuthority({ dir: authority })
    const prefix = uniqueName('px')
    stack.defer(async () => {
      for (const index of [0, 1]) await net.deleteNetns(`${prefix}-${card.device}-${index}`)
    })
    const agent = createAgent({
      node: 'node-1',
      hardware: softDpu({ device: card.device, vfs: card.vfs, netns: dpu.path }),
      adapter: cilium({ mode: 'agent-api', socket: ciliumAgent.socket, nodeName: 'node-1', proxyPrefix: prefix, netns: dpu.path }),
      listen: 'tcp://127.0.0.1:0',
      tls: await issueCertificate({ authority, role: 'agent', node: 'node-1', out: join(dir, 'agent') }),
      stateDir: join(dir, 'state'),
    })
    const stop = new AbortController()
    const running = agent.run(stop.signal)
    stack.defer(async () => {
      stop.abort()
      await running
    })
    const address = await Promise.race([agent.listening, running.then(() => agent.listening)])
    const tls = await issueCertificate({ authority, role: 'host', node: 'node-1', out: join(dir, 'host') })
    client = stack.use(createOffloadClient({ address, tls, node: 'node-1' }))
    await client.handshake({ protocol: { min: 1, max: 1 }, node: 'node-1', bootId: 'boot', features: [] }, context())

    const functions = await softHost({ device: card.device, vfs: card.vfs, netns: host.path, dpuNetns: dpu.path }).create({
      log: silentLogger,
      clock: systemClock,
      stateDir: dir,
    })
    stack.defer(async () => functions[Symbol.asyncDispose]?.())
    pods = [stack.use(await fakePod({ net, name: 'a' })), stack.use(await fakePod({ net, name: 'b' }))]
    const vfs = await functions.discover({ ...context(), log: silentLogger })
    calls = vfs.map(({ id, mac }, index) => ({
      key: pods[index]!.key('podnet'),
      pod: pods[index]!.identity,
      vf: id,
      vfMac: mac,
      netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
      runtimeConfig: {},
      cniArgs: {},
      flags: { ipsec: false },
    }))
    const replies: AttachReply[] = []
    for (const [index, { netdev }] of vfs.entries()) {
      const { path } = pods[index]!
      await net.apply(host.path, [{ op: 'link.move', dev: netdev ?? '', netns: path, name: 'eth0' }])
      const reply = await client.attach(calls[index]!, context())
      await wirePod(net, path, 'eth0', reply.result)
      replies.push(reply)
    }
    results = replies.map(({ result }) => result)
  })
  afterEach(() => stack.disposeAsync())

  const addressesOf = (index: number): string[] => results[index]!.ips.map(({ address }) => address.replace(/\/.*/, ''))
  const reach = (from: number, to: number): Promise<boolean[]> =>
    Promise.all(addressesOf(to).map((address) => reaches(pods[from]!.path, address, { withinSeconds: 10 })))

  it('have its network, keep MAC and addresses when it drops their endpoints, and leave nothing', async () => {
    expect([...(await reach(0, 1)), ...(await reach(1, 0))]).toEqual([true, true, true, true])
    await ciliumAgent.stop({ leaveSocket: true })
    await expect(client.status({}, context())).rejects.toMatchObject({ code: 'NOT_READY' })
    await ciliumAgent.start()
    expect(ciliumAgent.allocations, 'all that it knew of them').toEqual({})
    await client.status({}, context())

    const wired = async function* (): AsyncGenerator<AttachCall> {
      for (const [index, call] of calls.entries()) yield { ...call, had: results[index]! }
    }
    const events: ResyncEvent[] = []
    for await (const event of client.resync(wired(), context())) events.push(event)
    // Whoever sees it first, the agent's own reconciler or the host's resync, attaches it again.
    expect(events.map(({ action }) => ['kept', 'reattached'].includes(action))).toEqual([true, true])
    const byKey = new Map(events.map(({ key, result }) => [key.containerId, result]))
    expect(calls.map(({ key }) => byKey.get(key.containerId))).toEqual(results)
    expect(ciliumAgent.endpoints).toHaveLength(2)
    expect([...(await reach(0, 1)), ...(await reach(1, 0))], 'no pod was touched').toEqual([true, true, true, true])

    for (const { key } of calls) await client.detach({ key }, context())
    expect([ciliumAgent.endpoints, ciliumAgent.allocations, await client.list(context())]).toEqual([[], {}, []])
  })
})
