import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { TestNetns, uniqueName } from '@cni-offload/testing'
import type { HardwareFixture } from '@cni-offload/testing/hardware'
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
  newHost(options?: { dpuNetns?: NetnsPath; maxMtu?: number }): SoftHost
}

/** A hardware fixture over a card of 4 functions; its host half knows the namespace of the DPU or not. */
export async function softFixture(net: LinuxNet, knowsDpu = true): Promise<HardwareFixture> {
  const soft = await softCard(net)
  const newHost = (): SoftHost => soft.newHost({ maxMtu: 9000, ...(knowsDpu ? { dpuNetns: soft.dpuNetns.path } : {}) })
  return {
    net,
    host: newHost(),
    dpu: soft.dpu,
    hostNetns: soft.hostNetns.path,
    dpuNetns: soft.dpuNetns.path,
    vfs: [0, 1, 2, 3].map((index) => ({ device: 'soft0', index })),
    restartHost: async () => newHost(),
    survivesNetnsLoss: knowsDpu,
    [Symbol.asyncDispose]: () => soft[Symbol.asyncDispose](),
  }
}

/** A plugged-in card in namespaces of its own, with both halves made and the DPU half started. */
export async function softCard(net: LinuxNet, vfs = 4, node = uniqueName('n')): Promise<SoftCard> {
  const hostNetns = await TestNetns.create(net, 'swh')
  const dpuNetns = await TestNetns.create(net, 'swd')
  const card: Card = { device: 'soft0', vfs, node, mtu: 1500 }
  const slot = { net, ...card, hostNetns: hostNetns.path, dpuNetns: dpuNetns.path }
  await plugCard(slot)
  const newHost = (options: { dpuNetns?: NetnsPath; maxMtu?: number } = { dpuNetns: dpuNetns.path }): SoftHost =>
    new SoftHost({ net, clock: systemClock, card, netns: hostNetns.path, ...options })
  const dpu = new SoftDpu({ net, log: silentLogger, device: card.device, vfs, node, netns: dpuNetns.path })
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
      await hostNetns[Symbol.asyncDispose]()
      await dpuNetns[Symbol.asyncDispose]()
    },
  }
}
