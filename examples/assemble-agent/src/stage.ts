import { hostname } from 'node:os'
import { plugCard, unplugCard } from '@cni-offload/hw-soft'
import { createLinuxNet, type LinuxNet, type NetnsPath } from '@cni-offload/linux'
import { TestNetns } from '@cni-offload/testing'

/** A host and a DPU, two network namespaces with a software card between them. */
export interface Stage extends AsyncDisposable {
  /** Kernel access. */
  readonly net: LinuxNet
  /** Name of the card. */
  readonly device: string
  /** Namespace of the host. */
  readonly hostNetns: NetnsPath
  /** Namespace of the DPU. */
  readonly dpuNetns: NetnsPath
}

/** Makes the stage; disposing it removes everything. */
export async function makeStage({ vfs }: { readonly vfs: number }): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const net = stack.use(createLinuxNet())
  const host = stack.use(await TestNetns.create(net, 'exh'))
  const dpu = stack.use(await TestNetns.create(net, 'exd'))
  const card = { net, device: 'ex0', vfs, node: hostname(), hostNetns: host.path, dpuNetns: dpu.path }
  await plugCard(card)
  stack.defer(() => unplugCard(card))
  const all = stack.move()
  return { net, device: card.device, hostNetns: host.path, dpuNetns: dpu.path, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
