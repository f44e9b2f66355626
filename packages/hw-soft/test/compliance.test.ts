import { createLinuxNet } from '@cni-offload/linux'
import { hardwareSuite } from '@cni-offload/testing/hardware'
import { afterAll } from 'vitest'
import { softFixture } from './soft-card.ts'

const net = createLinuxNet()
afterAll(() => net[Symbol.asyncDispose]())

hardwareSuite({ name: 'hw-soft', setup: () => softFixture(net) })
hardwareSuite({ name: 'hw-soft that does not know the namespace of the DPU', setup: () => softFixture(net, false) })
