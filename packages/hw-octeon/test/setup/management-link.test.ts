import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { systemClock } from '@cni-offload/sdk'
import { isRoot, ping, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  applySetup,
  MANAGEMENT_LINK_LOCAL,
  planSetup,
  readInventory,
  Receipt,
  type SetupSite,
  type SetupWish,
  undoSetup,
} from '../../src/index.ts'

describe.skipIf(!isRoot())(`the management link (${ROOT_REASON})`, { timeout: 120_000 }, () => {
  let net: LinuxNet
  beforeAll(() => void (net = createLinuxNet()))
  afterAll(() => net[Symbol.asyncDispose]())

  const setUp = async (site: SetupSite, wish: SetupWish): Promise<number> => {
    const changes = await planSetup(await readInventory(site.machine), wish, site)
    await applySetup(changes, await Receipt.open(site.machine), site)
    return changes.length
  }

  it.each([
    ['192.168.1.1', undefined, undefined],
    ['fe80::1%enp1s0', [MANAGEMENT_LINK_LOCAL.dpu], [MANAGEMENT_LINK_LOCAL.host]],
  ])('joins host and DPU: %s answers, also where the host has only just loaded its driver', async (peer, onDpu, onHost) => {
    await using host = await TestNetns.create(net, 'mh')
    await using dpu = await TestNetns.create(net, 'md')
    await using card = await FakeOcteonCard.create({ net, hostNetns: host.path, dpuNetns: dpu.path, vfs: 1, state: 'fresh' })
    const common = { net, clock: systemClock, signal: AbortSignal.timeout(100_000) }
    const sites = [
      { site: { ...common, machine: card.dpu, netns: dpu.path }, wish: onDpu === undefined ? {} : { addresses: onDpu } },
      { site: { ...common, machine: card.host, netns: host.path }, wish: onHost === undefined ? {} : { addresses: onHost } },
    ]
    for (const { site, wish } of sites) expect(await setUp(site, wish)).toBeGreaterThan(0)
    expect((await ping(host.path, peer, { count: 2 })).received).toBe(2)
    for (const { site, wish } of sites) expect(await setUp(site, wish)).toBe(0)
    for (const { site } of sites) {
      const outcomes = (await undoSetup(await Receipt.open(site.machine), site)).map(({ outcome }) => outcome)
      expect(outcomes).toEqual(outcomes.map(() => 'undone'))
    }
    expect(await net.link(dpu.path, 'enP2p1s0v0')).toMatchObject({ up: false })
    expect(await net.addresses(dpu.path, 'enP2p1s0v0', { linkLocal: true })).toEqual([])
    expect(await net.link(host.path, 'enp1s0')).toBeUndefined()
  })
})
