import { reaches } from '@cni-offload/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { context, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from './lab.ts'
import { vlanInterface } from './vlan-interface.ts'

describe.skipIf(unprivileged)(`pods that ping each other ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  let lab: Lab

  beforeAll(async () => {
    lab = await Lab.create(4)
  }, PATIENCE)
  afterAll(() => lab[Symbol.asyncDispose]())
  beforeEach(async () => {
    for (const index of [0, 1, 2, 3]) {
      await lab.adapter.detach({ key: lab.request(index).key }, context())
      await lab.net.apply(lab.at(index).pod.path, [
        { op: 'link.set', dev: 'eth0', up: false },
        { op: 'addr.flush', dev: 'eth0' },
        { op: 'program.clear', dev: 'eth0' },
      ])
    }
  }, PATIENCE)

  const pod = (index: number): string => lab.at(index).pod.path
  const ping = async (from: number, to: number, withinSeconds = 5): Promise<boolean> =>
    (await reaches(pod(from), `10.9.0.${to + 1}`, { withinSeconds })) && (await reaches(pod(from), `fd09::${to + 1}`, { withinSeconds }))
  const blocked = async (from: number, to: number): Promise<boolean> =>
    !(await reaches(pod(from), `10.9.0.${to + 1}`, { withinSeconds: 1 })) &&
    !(await reaches(pod(from), `fd09::${to + 1}`, { withinSeconds: 1 }))

  test('reach those of their VLAN and no others', async () => {
    for (const [index, netconf] of [{ vlan: 100 }, { vlan: 100, vlanQoS: 5 }, { vlan: 200 }, {}].entries())
      await lab.connect(index, netconf)
    expect(await ping(0, 1)).toBe(true)
    expect([await blocked(0, 2), await blocked(0, 3), await blocked(2, 3)]).toEqual([true, true, true])
  })

  test('in a VLAN of 802.1ad reach each other, with tags of their own, too, and none of the same number of 802.1q', async () => {
    for (const [index, netconf] of [{ vlan: 100, vlanProto: '802.1ad' }, { vlan: 100, vlanProto: '802.1AD' }, { vlan: 100 }].entries())
      await lab.connect(index, netconf)
    expect(await ping(0, 1)).toBe(true)
    expect(await blocked(0, 2)).toBe(true)
    await lab.net.apply(pod(0), vlanInterface(7))
    expect(await blocked(0, 1)).toBe(true)
    await lab.net.apply(pod(1), vlanInterface(7))
    expect(await ping(0, 1)).toBe(true)
    await lab.net.apply(pod(1), vlanInterface(8))
    expect(await blocked(0, 1)).toBe(true)
  })

  test('in a trunk reach those of the VLANs that it lists', async () => {
    for (const [index, netconf] of [
      { vlanTrunk: [{ id: 100 }, { minID: 300, maxID: 310 }], vlan: 400 },
      { vlan: 100 },
      { vlan: 200 },
      { vlan: 400 },
    ].entries())
      await lab.connect(index, netconf)
    expect(await ping(0, 3), 'without tag').toBe(true)
    await lab.net.apply(pod(0), vlanInterface(100))
    expect(await ping(0, 1)).toBe(true)
    expect(await blocked(0, 3)).toBe(true)
    await lab.net.apply(pod(0), vlanInterface(200))
    expect(await blocked(0, 2)).toBe(true)
  })

  test('without trust do not get through with another MAC, with trust they do', async () => {
    await lab.connect(0)
    await lab.connect(1, { trust: 'on' })
    expect(await ping(0, 1)).toBe(true)
    const change = (index: number): Promise<void> =>
      lab.net.apply(pod(index), [
        { op: 'link.set', dev: 'eth0', mac: `02:b0:00:00:01:0${index}` },
        { op: 'announce', dev: 'eth0', addresses: [`10.9.0.${index + 1}`, `fd09::${index + 1}`] },
      ])
    await change(1)
    expect(await ping(0, 1)).toBe(true)
    await change(0)
    expect(await blocked(0, 1)).toBe(true)
  })

  test('without spoofchk may send with another MAC, but do not get what is for it', async () => {
    await lab.connect(0, { spoofchk: 'off' })
    await lab.connect(1)
    const mac = '02:b0:00:00:01:00'
    await lab.net.apply(pod(0), [{ op: 'link.set', dev: 'eth0', mac }])
    await lab.net.apply(pod(1), [{ op: 'neigh.add', dev: 'eth0', ip: '10.9.0.1', mac }])
    const before = (await lab.net.link(pod(1), 'eth0'))?.stats.rxPackets ?? 0n
    expect(await reaches(pod(0), '10.9.0.2', { withinSeconds: 2 })).toBe(false)
    expect((await lab.net.link(pod(1), 'eth0'))?.stats.rxPackets).toBeGreaterThan(before)
  })

  test('that are isolated do not reach each other, but others', async () => {
    for (const [index, netconf] of [{ portIsolation: true }, { portIsolation: true }, {}].entries()) await lab.connect(index, netconf)
    expect(await ping(0, 2)).toBe(true)
    expect(await ping(1, 2)).toBe(true)
    expect(await blocked(0, 1)).toBe(true)
  })

  test('whose link is disabled reach nobody, and are attached all the same', async () => {
    const result = await lab.connect(0, { link_state: 'disable' })
    await lab.connect(1)
    expect(await blocked(0, 1)).toBe(true)
    const { key, port } = lab.request(0)
    expect(await lab.adapter.list(context())).toContainEqual(key)
    await lab.adapter.check({ key, port, expected: result }, context())
  })

  test('do not reach the DPU itself', async () => {
    await lab.net.apply(lab.dpu, [{ op: 'addr.add', dev: 'sriov0', address: '10.9.0.100/24' }])
    await lab.connect(0)
    await lab.connect(1)
    expect(await ping(0, 1)).toBe(true)
    expect(await reaches(pod(0), '10.9.0.100', { withinSeconds: 1 })).toBe(false)
    await lab.net.apply(lab.dpu, [{ op: 'addr.flush', dev: 'sriov0' }])
  })
})
