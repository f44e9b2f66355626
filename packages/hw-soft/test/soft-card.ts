import { createLinuxNet, type LinuxNet, type NetnsPath } from '@cni-offload/linux'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { isRoot, TestNetns, uniqueName } from '@cni-offload/testing'
import { type Card, plugCard, SoftDpu, SoftHost, unplugCard } from '../src/index.ts'

export interface SoftCard extends AsyncDisposable {
  readonly net: LinuxNet
  readonly card: Card
  readonly hostNetns: TestNetns
  readonly dpuNetns: TestNetns
  readonly host: SoftHost
  readonly dpu: SoftDpu
  plug(): Promise<void>
  unplug(): Promise<void>
  newHost(options?: { dpuNetns?: NetnsPath }): SoftHost
}

export const root: boolean = isRoot()

/** A plugged-in card in namespaces of its own, with both halves made and the DPU half started. */
export async function softCard(vfs = 4, node = uniqueName('n')): Promise<SoftCard> {
  const net = createLinuxNet()
  const hostNetns = await TestNetns.create(net, 'swh')
  const dpuNetns = await TestNetns.create(net, 'swd')
  const card: Card = { device: 'soft0', vfs, node, mtu: 1500 }
  const slot = { net, ...card, hostNetns: hostNetns.path, dpuNetns: dpuNetns.path }
  await plugCard(slot)
  const newHost = (options: { dpuNetns?: NetnsPath } = { dpuNetns: dpuNetns.path }): SoftHost => new SoftHost({ net, clock: systemClock, card, netns: hostNetns.path, ...options })
  const dpu = new SoftDpu({ net, log: silentLogger, device: card.device, vfs, netns: dpuNetns.path })
  await dpu.start(AbortSignal.timeout(10_000))
  return {
    net,
    card,
    hostNetns,
    dpuNetns,
    host: newHost(),
    dpu,
    plug: () => plugCard(slot),
    unplug: () => unplugCard(slot),
    newHost,
    async [Symbol.asyncDispose]() {
      await unplugCard(slot)
      await hostNetns[Symbol.asyncDispose]()
      await dpuNetns[Symbol.asyncDispose]()
      await net[Symbol.asyncDispose]()
    },
  }
}
