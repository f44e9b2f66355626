import { mkdir } from 'node:fs/promises'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { CiliumAdapter } from './agent-api/adapter.ts'
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
    return options.mode === 'splice' ? createSpliceAdapter(deps, options) : new CiliumAdapter(commonParts(deps, options))
  },
})
