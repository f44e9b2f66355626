import { createLinuxNet } from '@cni-offload/linux'
import { type DeviceEvent, type OpContext, silentLogger, type VfId } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON, TestNetns } from '@cni-offload/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { type ControlPlane, type ControlPlaneEvent, OcteonDpu } from '../../src/index.ts'
import { type FakeNode, fakeNode, SteadyControlPlane } from '../fake-node.ts'

const ctx = (): OpContext => ({ signal: AbortSignal.timeout(30_000), log: silentLogger })
const vfOf = ({ device }: FakeNode, index: number): VfId => ({ device, index })

describe.skipIf(!isRoot())(`the DPU half of an OCTEON (${ROOT_REASON})`, { timeout: 90_000 }, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  const anew = (node: FakeNode, controlPlane: ControlPlane = new SteadyControlPlane()): OcteonDpu =>
    new OcteonDpu({ machine: node.card.dpu, net, log: silentLogger, controlPlane, device: node.device, netns: node.dpuNetns })

  it.each(['af', 'sdp'] as const)('maps functions by number, beyond the seventh and the tenth, too (layout %s)', async (layout) => {
    await using node = await fakeNode(net, { layout, vfs: 12 })
    const bus = layout === 'af' ? 1 : 15
    expect((await node.dpu.ports(ctx())).map(({ vf: { index }, name }) => [index, name])).toEqual(
      Array.from({ length: 12 }, (_, index) => [index, `enP2p${bus}s0v${index + 1}`]),
    )
  })

  it('knows the name of a port that an adapter has moved and renamed, also after a restart', async () => {
    await using node = await fakeNode(net)
    await using proxy = await TestNetns.create(net, 'ocx')
    await net.apply(node.dpuNetns, [{ op: 'link.move', dev: 'enP2p1s0v2', netns: proxy.path, name: 'eth0' }])
    const again = anew(node)
    await again.start(ctx().signal)
    expect(await again.port(vfOf(node, 1), ctx())).toEqual({ vf: vfOf(node, 1), name: 'enP2p1s0v2' })
    expect(await again.ports(ctx())).toEqual(await node.dpu.ports(ctx()))
  })

  it('has a port again whose interface was not there when it was started', async () => {
    await using node = await fakeNode(net)
    await node.card.dpu.write('/sys/bus/pci/drivers/rvu_nicvf/unbind', '0002:01:00.2')
    const again = anew(node)
    await again.start(ctx().signal)
    await expect(again.port(vfOf(node, 0), ctx())).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: expect.stringContaining('0002:01:00.2'),
    })
    await node.card.dpu.write('/sys/bus/pci/drivers/rvu_nicvf/bind', '0002:01:00.2')
    expect(await again.port(vfOf(node, 0), ctx())).toEqual({ vf: vfOf(node, 0), name: 'enP2p1s0v1' })
  })

  it('refuses functions that the card does not have, and those of another card', async () => {
    await using node = await fakeNode(net)
    await expect(node.dpu.port(vfOf(node, 4), ctx())).rejects.toMatchObject({ message: expect.stringContaining('VFs 0 to 3') })
    await expect(node.dpu.port({ device: 'soft0', index: 0 }, ctx())).rejects.toMatchObject({
      message: expect.stringContaining(`"${node.device}"`),
    })
    await expect(anew(node).port(vfOf(node, 0), ctx())).rejects.toMatchObject({ hint: 'start the device first' })
  })

  it('tells when the control plane is lost and when it is back', async () => {
    await using node = await fakeNode(net)
    const events: ControlPlaneEvent[] = [{ kind: 'ready' }, { kind: 'lost', reason: 'killed' }, { kind: 'ready' }]
    const controlPlane = Object.assign(new SteadyControlPlane(), {
      async *events(): AsyncIterable<ControlPlaneEvent> {
        yield* events
      },
    })
    const seen: DeviceEvent[] = await Array.fromAsync(anew(node, controlPlane).watch(ctx().signal))
    expect(seen).toEqual([
      { kind: 'device-back', device: node.device },
      { kind: 'device-lost', device: node.device, reason: 'killed' },
      { kind: 'device-back', device: node.device },
    ])
  })

  it('does not start without its control plane, and ends it', async () => {
    await using node = await fakeNode(net)
    let ended = 0
    const controlPlane = Object.assign(new SteadyControlPlane(), {
      start: () => Promise.reject(new Error('no agent')),
      [Symbol.asyncDispose]: async () => void ended++,
    })
    const dpu = anew(node, controlPlane)
    await expect(dpu.start(ctx().signal)).rejects.toThrow('no agent')
    await dpu[Symbol.asyncDispose]()
    expect(ended).toBe(1)
  })
})
