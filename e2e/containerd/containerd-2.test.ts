import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { RuntimeLab, type RuntimeNode, runtimeOf } from './nodes.ts'

const { binaries, missing } = await runtimeOf('newer')

describe.skipIf(binaries === undefined)(`containerd 2 and version 1.1.0 of the specification (${missing || 'needs root'})`, () => {
  let lab: RuntimeLab
  let node: RuntimeNode

  beforeAll(async () => {
    lab = await RuntimeLab.up({
      nodes: 1,
      vfs: 2,
      binaries: binaries!,
      conflist: { cniVersion: '1.1.0' },
      extra: { host: { log: { level: 'debug' } } },
    })
    node = lab.nodes[0]!
  })

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  afterEach(async () => {
    await node.expectNothingLeft()
  })

  test('pods have both families, reach each other, and leave nothing in any order', async () => {
    expect((await node.runtime.cri.version()).runtimeVersion).toMatch(/^v?[2-9]/)
    const [a, b] = await Promise.all([node.run(), node.run()])
    const inside = await node.container(a)
    expect(b.ips).toHaveLength(2)
    for (const ip of b.ips) expect(await inside(`ping -c 2 -W 5 ${ip}`)).toContain('2 packets received')
    await Promise.all([node.stop(a), node.stop(a), node.stop(b)])
    await node.stop(b)
    await node.remove(a)
    await node.remove(b)
  })

  test('the network of the node is not ready while the agent is away, with our words, and ready when it is back', async () => {
    await lab.e2e.lab.kill(node.node, 'agent')
    await expect.poll(() => node.notReady(), { timeout: 30_000, interval: 100 }).toMatch(/agent/i)
    const why = await node.notReady()
    await lab.e2e.lab.start(node.node, 'agent')
    await expect.poll(() => node.notReady(), { timeout: 30_000, interval: 100 }).toBe('')
    expect(why).toContain(node.node.agentAddress.replace('tcp://', ''))
    await node.remove(await node.run())
  })

  test('the network of the node is not ready while no VF is free', async () => {
    const pods = await Promise.all([node.run(), node.run()])
    await expect.poll(() => node.notReady(), { timeout: 30_000, interval: 100 }).toMatch(/VF/)
    await node.remove(pods[0])
    await expect.poll(() => node.notReady(), { timeout: 30_000, interval: 100 }).toBe('')
    await node.remove(pods[1])
  })

  test('after all of it, neither host daemons nor agents hold anything', async () => {
    await lab.expectNothingHeld()
  })
})
