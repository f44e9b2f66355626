import { mkdir } from 'node:fs/promises'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { CiliumAdapter } from './agent-api/adapter.ts'
import { PortDevices } from './agent-api/port-devices.ts'
import { VethDevices } from './agent-api/veth-devices.ts'
import { ciliumOptions } from './options.ts'
import { commonParts } from './parts.ts'
import { createSpliceAdapter } from './splice/create.ts'

/** The adapter that gives pods the network of a stock cilium-agent on the DPU: `cilium({ nodeName: 'host-1' })`. */
export const cilium: Plugin<'adapter', typeof ciliumOptions> = definePlugin({
  kind: 'adapter',
  name: 'cilium',
  specVersion: 'v1',
  options: ciliumOptions,
  async create(deps, options) {
    await mkdir(deps.stateDir, { recursive: true, mode: 0o700 })
    if (options.mode === 'splice') return createSpliceAdapter(deps, options)
    const parts = commonParts(deps, options)
    const Devices = options.device === 'port' ? PortDevices : VethDevices
    return new CiliumAdapter({ ...parts, devices: new Devices(parts.net, parts.proxies) })
  },
})
