import type { NetOp } from '@cni-offload/linux'
import { exec, inNetns, TestNetns } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { context, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from '../lab.ts'
import { vlanInterface } from '../vlan-interface.ts'

const UPLINK = 'up0'

describe.skipIf(unprivileged)(`the network behind the uplink ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  let lab: Lab
  let outside: TestNetns

  beforeAll(async () => {
    lab = await Lab.create(1)
    outside = await TestNetns.create(lab.net, 'net')
    await lab.net.apply(lab.dpu, [{ op: 'link.add-veth', dev: UPLINK, peer: { name: 'eth0', netns: outside.path } }])
    await lab.net.apply(outside.path, [
      // Who has not asked yet takes what it is told, too.
      { op: 'sysctl', key: 'net.ipv4.conf.eth0.arp_accept', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.eth0.accept_untracked_na', value: '1' },
      { op: 'link.set', dev: 'eth0', up: true },
      { op: 'addr.add', dev: 'eth0', address: '10.9.0.200/24' },
      { op: 'addr.add', dev: 'eth0', address: 'fd09::200/64' },
      { op: 'sysctl', key: 'net.ipv6.conf.eth0.forwarding', value: '1' },
    ])
    await lab.start({ uplink: UPLINK })
  }, PATIENCE)
  afterAll(async () => {
    await outside[Symbol.asyncDispose]()
    await lab[Symbol.asyncDispose]()
  })

  const known = async (): Promise<string> => (await exec(inNetns(outside.path, ['ip', 'neigh', 'show', 'dev', 'eth0']))).stdout
  const hostIpam = { ips: [{ address: '10.9.0.1/24' }, { address: 'fd09::1/64' }], routes: [], dns: {} }

  test.each<[string, object, readonly NetOp[]]>([
    ['without VLAN', {}, []],
    ['in its VLAN', { vlan: 100 }, vlanInterface(100)],
    ['in the VLAN of its frames without tag', { vlan: 101, vlanTrunk: [{ id: 5 }] }, vlanInterface(101)],
  ])('knows where a pod is before that has sent anything, %s', async (_what, netconf, ops) => {
    await exec(inNetns(outside.path, ['ip', 'neigh', 'flush', 'dev', 'eth0']))
    await lab.net.apply(outside.path, [{ op: 'program.clear', dev: 'eth0' }, ...ops])
    const request = lab.request(0, netconf, { hostIpam })
    // The link of the uplink has just come up at first.
    await expect
      .poll(
        async () => {
          await lab.adapter.detach({ key: request.key }, context())
          await lab.adapter.attach(request, context())
          return await known()
        },
        { timeout: 20_000 },
      )
      .toMatch(new RegExp(`10\\.9\\.0\\.1 lladdr ${request.vfMac}`))
    expect(await known()).toContain(`fd09::1 lladdr ${request.vfMac}`)
    await lab.adapter.detach({ key: request.key }, context())
  })

  test('sees one frame of a pod without addresses', async () => {
    await lab.net.apply(outside.path, [{ op: 'program.clear', dev: 'eth0' }])
    const frames = async (): Promise<bigint> => (await lab.net.link(outside.path, 'eth0'))?.stats.rxPackets ?? 0n
    const before = await frames()
    await lab.adapter.attach(lab.request(0), context())
    expect((await frames()) - before).toBe(1n)
    await lab.adapter.detach({ key: lab.request(0).key }, context())
  })

  test('makes the adapter not ready when it is away', async () => {
    await lab.adapter.status(context())
    await lab.net.apply(lab.dpu, [{ op: 'link.set', dev: UPLINK, up: false }])
    await expect(lab.adapter.status(context())).rejects.toMatchObject({ code: 'NOT_READY', message: 'uplink up0 is down' })
    await lab.net.apply(lab.dpu, [{ op: 'link.set', dev: UPLINK, master: null }])
    await expect(lab.adapter.status(context())).rejects.toMatchObject({ message: 'uplink up0 is not in bridge sriov0' })
    await lab.net.apply(lab.dpu, [{ op: 'link.del', dev: 'sriov0' }])
    await expect(lab.adapter.status(context())).rejects.toMatchObject({ message: 'bridge sriov0 is missing' })
    await lab.start({ uplink: UPLINK })
    await lab.adapter.status(context())
    await expect(lab.start({ uplink: 'nosuch' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
