import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { createLinuxNet } from '@cni-offload/linux'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { endOrphans, PluginExecutor } from '@cni-offload/sdk/exec'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { SriovAdapter } from './adapter.ts'
import { VlanBridge } from './bridge/vlan-bridge.ts'
import { Ipam } from './ipam/ipam.ts'
import { PluginIpam } from './ipam/plugin-ipam.ts'
import { sriovOptions } from './options.ts'
import { AttachmentStore } from './state/attachment-store.ts'

/** The adapter for plain VF networks, configured as sriov-cni is: `sriov({ uplink: 'eth1' })`. */
export const sriov: Plugin<'adapter', typeof sriovOptions> = definePlugin({
  kind: 'adapter',
  name: 'sriov',
  specVersion: 'v1',
  options: sriovOptions,
  async create({ clock, log, stateDir }, options) {
    const owner = resolve(stateDir)
    const store = new AttachmentStore(join(stateDir, 'sriov.db'), clock)
    reportSetAside(store.setAside, log)
    const { cniPath, execTimeoutMs: timeoutMs } = options
    const net = createLinuxNet()
    const plugins = new PluginIpam(new PluginExecutor({ cniPath, timeoutMs, owner }))
    const parts = { net, store, bridge: new VlanBridge(net, shortOf(owner), options), ipam: new Ipam(store, plugins), options }
    return new SriovAdapter({ ...parts, endOrphans: (ctx) => endOrphans(owner, { clock, ...ctx }) })
  },
})

/** Programs of links have short names. */
const shortOf = (owner: string): string => createHash('sha256').update(owner).digest('hex').slice(0, 8)
