import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetnsPath } from '../../src/index.ts'
import { ipJson, TestNet, unprivileged } from '../support.ts'

const MAC = '02:0b:00:00:00:01'

describe.skipIf(unprivileged)('ports of bridges (needs root for network namespaces)', () => {
  let lab: TestNet
  let netns: NetnsPath

  beforeAll(() => {
    lab = new TestNet()
  })
  beforeEach(async () => {
    netns = await lab.netns()
    await lab.apply(
      netns,
      { op: 'link.add-bridge', dev: 'br0', multicastSnooping: false },
      { op: 'link.add-veth', dev: 'p0', peer: { name: 'v0' } },
      { op: 'link.add-veth', dev: 'p1', peer: { name: 'v1' } },
      { op: 'link.set', dev: 'p0', master: 'br0' },
      { op: 'link.set', dev: 'p1', master: 'br0' },
    )
  })
  afterAll(() => lab[Symbol.asyncDispose]())

  const shown = (dev: string): unknown =>
    (ipJson(netns, 'link', 'show', dev)[0] as { linkinfo: { info_slave_data: unknown } }).linkinfo.info_slave_data
  const tied = (): unknown[] =>
    (
      JSON.parse(
        execFileSync('ip', ['netns', 'exec', netns.replace('/run/netns/', ''), 'bridge', '-j', 'fdb', 'show', 'br', 'br0'], {
          encoding: 'utf8',
        }),
      ) as { mac: string; ifname: string; state: string }[]
    )
      .filter(({ mac }) => mac === MAC)
      .map(({ ifname, state }) => ({ ifname, state }))

  test('learn, are flooded and talk to each other until they are set otherwise', async () => {
    expect((await lab.net.link(netns, 'p0'))?.bridgePort).toEqual({ learning: true, flood: true, isolated: false })
    await lab.apply(netns, { op: 'bridge.port', dev: 'p0', port: { learning: false, isolated: true } })
    expect((await lab.net.link(netns, 'p0'))?.bridgePort).toEqual({ learning: false, flood: true, isolated: true })
    await lab.apply(netns, { op: 'bridge.port', dev: 'p0', port: { flood: false } })
    expect(shown('p0')).toMatchObject({ learning: false, flood: false, isolated: true })
    expect(shown('p1')).toMatchObject({ learning: true, flood: true, isolated: false })
    expect((await lab.net.links(netns)).find(({ name }) => name === 'p0')?.bridgePort).toEqual({
      learning: false,
      flood: false,
      isolated: true,
    })
  })

  test('are none outside of a bridge', async () => {
    await lab.apply(netns, { op: 'link.set', dev: 'p0', master: null })
    expect((await lab.net.link(netns, 'p0'))?.bridgePort).toBeUndefined()
    await expect(lab.apply(netns, { op: 'bridge.port', dev: 'p0', port: { flood: false } })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
    })
  })

  test('have MAC addresses tied to them, at one port each', async () => {
    await lab.apply(netns, { op: 'forward.set', dev: 'p0', mac: MAC }, { op: 'forward.set', dev: 'p0', mac: MAC })
    expect(await lab.net.forwarding(netns, 'p0')).toEqual([MAC])
    expect(tied()).toEqual([{ ifname: 'p0', state: 'static' }])
    await lab.apply(netns, { op: 'forward.set', dev: 'p1', mac: MAC })
    expect([await lab.net.forwarding(netns, 'p0'), await lab.net.forwarding(netns, 'p1')]).toEqual([[], [MAC]])
    await lab.apply(netns, { op: 'forward.del', dev: 'p1', mac: MAC }, { op: 'forward.del', dev: 'p1', mac: MAC })
    expect(tied()).toEqual([])
  })

  test('lose what is tied to them when they leave the bridge', async () => {
    await lab.apply(netns, { op: 'forward.set', dev: 'p0', mac: MAC }, { op: 'link.set', dev: 'p0', master: null })
    expect(await lab.net.forwarding(netns, 'p0')).toEqual([])
    expect(tied()).toEqual([])
  })

  test('of a bridge that does not look who wants which multicast', () => {
    const [bridge] = ipJson(netns, 'link', 'show', 'br0') as unknown as [{ linkinfo: { info_data: { mcast_snooping: number } } }]
    expect(bridge.linkinfo.info_data.mcast_snooping).toBe(0)
  })
})
