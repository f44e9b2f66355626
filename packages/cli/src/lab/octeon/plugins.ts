import {
  makeOcteonDpu,
  makeOcteonHost,
  type OcteonDpuConfig,
  octeonDpuOptions,
  type OcteonDpuOptions,
  type OcteonHostConfig,
  octeonHostOptions,
  type OcteonHostOptions,
} from '@cni-offload/hw-octeon'
import { createLinuxNet } from '@cni-offload/linux'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { connectFakeOcteonMachine, connectFakeOcteonNet } from '@cni-offload/testing/octeon'
import { z } from 'zod'
import { connectDpu } from './connect-dpu.ts'

interface OverFake<T> {
  /** Socket of the fake card. */
  readonly socket: string
  /** Options of the backend. */
  readonly octeon: T
}

const socket = z.string().min(1)
const hostOptions: z.ZodType<OverFake<OcteonHostConfig>, OverFake<OcteonHostOptions>> = z.strictObject({
  socket,
  octeon: octeonHostOptions,
})
interface DpuOverFake<T> extends OverFake<T> {
  /** Folder of this machine that the configuration of the control agent is in. */
  readonly folder: string
}

const dpuOptions: z.ZodType<DpuOverFake<OcteonDpuConfig>, DpuOverFake<OcteonDpuOptions>> = z.strictObject({
  socket,
  folder: z.string().startsWith('/'),
  octeon: octeonDpuOptions,
})

/** The host half of the OCTEON backend, over a fake card that another process serves. */
export const fakeOcteonHost: Plugin<'host-device', typeof hostOptions> = definePlugin({
  kind: 'host-device',
  name: 'octeon',
  specVersion: 'v1',
  options: hostOptions,
  create: async (deps, { socket: card, octeon }) => {
    const machine = await connectFakeOcteonMachine(card, 'host')
    return await makeOcteonHost(deps, octeon, machine, await connectFakeOcteonNet(card, createLinuxNet()))
  },
})

/** The DPU half, likewise. */
export const fakeOcteonDpu: Plugin<'dpu-device', typeof dpuOptions> = definePlugin({
  kind: 'dpu-device',
  name: 'octeon',
  specVersion: 'v1',
  options: dpuOptions,
  create: async (deps, options) => {
    const { socket: card, octeon, folder } = options
    return await makeOcteonDpu(deps, octeon, await connectDpu(card, folder))
  },
})
