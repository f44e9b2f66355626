import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createLinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { definePlugin, OffloadError, type Plugin } from '@cni-offload/sdk'
import { DelegateAdapter } from './adapter.ts'
import { endOrphans, inlineList, ListRunner, PluginExecutor, PluginListFile, type PluginListSource } from '@cni-offload/sdk/exec'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { type DelegateOptions, delegateOptions } from './options.ts'
import { AttachmentStore } from './state/attachment-store.ts'

/**
 * The adapter that runs a stock CNI plugin list on the DPU:
 * `delegate({ conflistFile: '/etc/cni/net.d/10-calico.conflist' })`.
 */
export const delegate: Plugin<'adapter', typeof delegateOptions> = definePlugin({
  kind: 'adapter',
  name: 'delegate',
  specVersion: 'v1',
  options: delegateOptions,
  async create({ clock, log, stateDir }, options) {
    const folder = options.cacheDir ?? stateDir
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const { cniPath, execTimeoutMs: timeoutMs, pluginEnv: env, concurrency, netns } = options
    const store = new AttachmentStore(join(folder, 'delegate.db'), clock)
    reportSetAside(store.setAside, log)
    const owner = resolve(folder)
    const executor = new PluginExecutor({ cniPath, timeoutMs, env, owner, concurrency, ...(netns === OWN_NETNS ? {} : { netns }) })
    return new DelegateAdapter({
      name: 'delegate',
      net: createLinuxNet(),
      clock,
      store,
      source: listSource(options),
      endOrphans: (ctx) => endOrphans(owner, { clock, ...ctx }),
      runner: new ListRunner(executor, options.noCheck),
      proxies: { prefix: options.proxyPrefix, home: netns, owner: createHash('sha256').update(folder).digest('hex').slice(0, 16) },
    })
  },
})

function listSource({ conflist, conflistFile }: DelegateOptions): PluginListSource {
  if (conflist !== undefined) return inlineList(conflist)
  if (conflistFile !== undefined) return new PluginListFile(conflistFile)
  throw new OffloadError('INVALID_CONFIG', 'options of adapter "delegate": either conflist or conflistFile is needed')
}
