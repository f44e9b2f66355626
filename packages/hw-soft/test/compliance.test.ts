import { type HardwareFixture, hardwareSuite } from '@cni-offload/testing/hardware'
import { softCard } from './soft-card.ts'

async function fixture(lossless: boolean): Promise<HardwareFixture> {
  const soft = await softCard()
  const newHost = () => (lossless ? soft.newHost() : soft.newHost({}))
  return {
    net: soft.net,
    host: newHost(),
    dpu: soft.dpu,
    hostNetns: soft.hostNetns.path,
    dpuNetns: soft.dpuNetns.path,
    vfs: [0, 1, 2, 3].map((index) => ({ device: 'soft0', index })),
    restartHost: async () => newHost(),
    survivesNetnsLoss: lossless,
    [Symbol.asyncDispose]: () => soft[Symbol.asyncDispose](),
  }
}

hardwareSuite({ name: 'hw-soft', setup: () => fixture(true) })
hardwareSuite({ name: 'hw-soft that does not know the namespace of the DPU', setup: () => fixture(false) })
