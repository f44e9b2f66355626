import { isCilium, LAB_ADAPTERS } from '@cni-offload/cli'
import { ping, tcpTransfer } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, EVERYTHING, needsRoot, NOTHING_HELD } from './fixture.ts'

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

// The demo and the tests of cilium/ go the same path with the others, but for the versions of the specification.
// The networks of the adapter sriov have no gateway, which is pinged here; they have a test of their own.
const ADAPTERS = EVERYTHING ? LAB_ADAPTERS.filter((adapter) => adapter !== 'sriov') : (['delegate'] as const)

describe.skipIf(needsRoot).each(ADAPTERS)('the whole path with adapter %s (needs root for namespaces)', (adapter) => {
  let e2e: E2eLab

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 2, vfs: 4, adapter })
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  test('pods on two nodes reach each other over their DPUs in both families, and leave nothing', async () => {
    const [one, two] = [e2e.lab.node(1), e2e.lab.node(2)]
    const a = await e2e.addPod(one, 'a')
    const b = await e2e.addPod(one, 'b')
    const c = await e2e.addPod(two, 'c')
    expect(a.interfaces[0]).toMatchObject({ name: 'eth0', sandbox: e2e.lab.podPath('a') })
    const link = await e2e.net.link(e2e.lab.podPath('a'), 'eth0')
    expect(link).toMatchObject({ mac: a.interfaces[0].mac, up: true })
    expect((await e2e.net.addresses(e2e.lab.podPath('a'), 'eth0')).sort()).toEqual(
      a.ips.map((ip: { address: string }) => ip.address).sort(),
    )
    for (const target of [b, c]) {
      expect(target.ips).toHaveLength(2)
      for (const { address } of target.ips)
        expect(await ping(e2e.lab.podPath('a'), plain(address), { count: 2 })).toEqual({ sent: 2, received: 2 })
    }
    for (const { address } of c.ips)
      expect(await tcpTransfer(e2e.lab.podPath('c'), e2e.lab.podPath('a'), plain(address), 1 << 20)).toMatchObject({ bytes: 1 << 20 })
    for (const [pod, node, result] of [
      ['a', one, a],
      ['b', one, b],
      ['c', two, c],
    ] as const) {
      expect(await e2e.call(node, 'CHECK', pod, { conf: { prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
      expect(await e2e.call(node, 'DEL', pod)).toMatchObject({ exitCode: 0, stdout: '' })
      expect(await e2e.call(node, 'DEL', pod, { netns: '' })).toMatchObject({ exitCode: 0, stdout: '' })
    }
    expect(await e2e.held(one)).toEqual(NOTHING_HELD)
    expect(await e2e.held(two)).toEqual(NOTHING_HELD)
    await e2e.lab.deletePod('a')
    await e2e.lab.deletePod('b')
    await e2e.lab.deletePod('c')
  })

  test.each(['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'])(
    'a netconf of cniVersion %s gets a result of that version',
    async (cniVersion) => {
      const node = e2e.lab.node(1)
      const result = await e2e.addPod(node, 'v', { cniVersion })
      expect(result.cniVersion).toBe(cniVersion)
      expect(cniVersion < '0.3.0' ? result.ip4.ip : result.ips[0].address).toMatch(
        isCilium(adapter) ? /^10\.244\.1\.\d+\/32$/ : /^10\.244\.1\.\d+\/24$/,
      )
      expect(await e2e.call(node, 'DEL', 'v', { conf: { cniVersion, prevResult: result } })).toMatchObject({ exitCode: 0 })
      await e2e.lab.deletePod('v')
    },
  )

  test('a namespace that vanished with the interface inside costs nothing but the pod', async () => {
    const node = e2e.lab.node(1)
    for (let round = 0; round < 3; round++) {
      await e2e.addPod(node, 'gone')
      await e2e.lab.deletePod('gone')
      expect(await e2e.call(node, 'DEL', 'gone')).toMatchObject({ exitCode: 0, stdout: '' })
    }
    await expect.poll(() => e2e.held(node), { timeout: 60_000, interval: 100 }).toEqual(NOTHING_HELD)
    const again = await e2e.addPod(node, 'after')
    expect(await ping(e2e.lab.podPath('after'), '10.244.1.1', { count: 1, waitMs: 10_000 })).toEqual({ sent: 1, received: 1 })
    expect(again.ips).toHaveLength(2)
    await e2e.call(node, 'DEL', 'after')
    await e2e.lab.deletePod('after')
  })

  test('DEL while the agent is away succeeds; VF and address are free again once it is back', async () => {
    const node = e2e.lab.node(2)
    await e2e.addPod(node, 'orphan')
    await e2e.lab.kill(node, 'agent')
    expect(await e2e.call(node, 'DEL', 'orphan')).toMatchObject({ exitCode: 0, stdout: '' })
    await e2e.lab.start(node, 'agent')
    await expect.poll(() => e2e.held(node), { timeout: 60_000, interval: 100 }).toEqual(NOTHING_HELD)
    await e2e.lab.deletePod('orphan')
  })

  test('a host daemon that was killed finds its pods again', async () => {
    const node = e2e.lab.node(1)
    const result = await e2e.addPod(node, 'kept')
    await e2e.lab.kill(node, 'host')
    await e2e.lab.start(node, 'host')
    expect(await e2e.call(node, 'CHECK', 'kept', { conf: { prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
    expect(await ping(e2e.lab.podPath('kept'), '10.244.1.1', { count: 1, waitMs: 10_000 })).toEqual({ sent: 1, received: 1 })
    expect(await e2e.call(node, 'DEL', 'kept')).toMatchObject({ exitCode: 0 })
    await expect.poll(() => e2e.held(node), { timeout: 60_000, interval: 100 }).toEqual(NOTHING_HELD)
    await e2e.lab.deletePod('kept')
  })
})
