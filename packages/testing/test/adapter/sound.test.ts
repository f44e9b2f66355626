import { createLinuxNet } from '@cni-offload/linux'
import { afterAll } from 'vitest'
import { adapterSuite } from '../../src/adapter/index.ts'
import { soundFixture } from './sound-fixture.ts'

const net = createLinuxNet()
afterAll(() => net[Symbol.asyncDispose]())

adapterSuite({ name: 'the sound adapter', setup: () => soundFixture(net) })
