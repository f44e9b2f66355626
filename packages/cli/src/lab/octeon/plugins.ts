import { dirname } from 'node:path'
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
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { connectFakeOcteonMachine } from '@cni-offload/testing/octeon'
import { z } from 'zod'

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
const dpuOptions: z.ZodType<OverFake<OcteonDpuConfig>, OverFake<OcteonDpuOptions>> = z.strictObject({ socket, octeon: octeonDpuOptions })

/** The host half of the OCTEON backend, over a fake card that another process serves. */
export const fakeOcteonHost: Plugin<'host-device', typeof hostOptions> = definePlugin({
  kind: 'host-device',
  name: 'octeon',
  specVersion: 'v1',
  options: hostOptions,
  create: async (deps, options) => await makeOcteonHost(deps, options.octeon, await connectFakeOcteonMachine(options.socket, 'host')),
})

/** The DPU half, likewise. Its control agent is a program of this machine, so its configuration is a file here. */
export const fakeOcteonDpu: Plugin<'dpu-device', typeof dpuOptions> = definePlugin({
  kind: 'dpu-device',
  name: 'octeon',
  specVersion: 'v1',
  options: dpuOptions,
  create: async (deps, options) => {
    const { octeon } = options
    const machine = await connectFakeOcteonMachine(options.socket, 'dpu')
    return await makeOcteonDpu(deps, octeon, withFolder(machine, dirname(octeon.controlAgent.cfg)))
  },
})

/** A machine of which one folder is this machine's. */
function withFolder(machine: Machine, folder: string): Machine {
  const here = localMachine()
  const at = (path: string): Machine => (path === folder || path.startsWith(`${folder}/`) ? here : machine)
  return {
    read: (path) => at(path).read(path),
    write: (path, text) => at(path).write(path, text),
    readlink: (path) => at(path).readlink(path),
    list: (path) => at(path).list(path),
    place: (path, text, mode) => at(path).place(path, text, mode),
    remove: (path) => at(path).remove(path),
    run: (argv, signal) => machine.run(argv, signal),
  }
}
