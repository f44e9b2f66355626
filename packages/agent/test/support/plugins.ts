import { definePlugin, type DpuDevice } from '@cni-offload/sdk'
import { z } from 'zod'
import { FakeAdapter, FakeDevice, FakeNetwork } from './fakes.ts'

/** Plugins as a package would export them, for agents that are configured by file. */
export const fakeCard = definePlugin({
  kind: 'dpu-device',
  name: 'fake-card',
  specVersion: 'v1',
  options: z.strictObject({ ports: z.number().int().min(1).default(4) }),
  create: (_deps, { ports }): DpuDevice => new FakeDevice(ports),
})

const options = z.strictObject({ hangs: z.boolean().default(false) })

export const fakeNet = definePlugin({
  kind: 'adapter',
  name: 'fake-net',
  specVersion: 'v1',
  options,
  create: ({ log }, { hangs }) => {
    const network = new FakeNetwork()
    if (hangs)
      network.before.attach = () => {
        log.info({}, 'hanging')
        return new Promise(() => undefined)
      }
    return new FakeAdapter(network)
  },
})

export const otherNet = definePlugin({
  kind: 'adapter',
  name: 'other-net',
  specVersion: 'v1',
  options,
  create: () => new FakeAdapter(new FakeNetwork()),
})
