import { join, resolve } from 'node:path'
import { AttachmentStore, DelegateAdapter } from '@cni-offload/adapter-delegate'
import { OWN_NETNS } from '@cni-offload/linux'
import { Proxies } from '@cni-offload/linux/splice'
import type { PluginDeps } from '@cni-offload/sdk'
import { endOrphans, inlineList, ListRunner, PluginExecutor } from '@cni-offload/sdk/exec'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import type { SpliceOptions } from '../options.ts'
import { commonParts } from '../parts.ts'
import { CiliumSpliceAdapter } from './adapter.ts'
import { AddressHolders } from './address-holders.ts'
import { CiliumListFile, requireCilium } from './cilium-list.ts'
import { CiliumRunner } from './cilium-runner.ts'
import { Restorer } from './restorer.ts'

/** As many as a stock agent makes endpoints for at once. */
const PLUGINS_AT_ONCE = 4

/** Makes the adapter of mode `splice`. */
export function createSpliceAdapter(deps: PluginDeps, options: SpliceOptions): CiliumSpliceAdapter {
  const { clock, log, stateDir } = deps
  const { conflist, conflistFile, cniPath, execTimeoutMs: timeoutMs, pluginEnv, noCheck, netns: home, socket } = options
  const source = conflist === undefined ? new CiliumListFile(conflistFile) : inlineList(requireCilium(conflist))
  const holders = new AddressHolders()
  // A file that stays open would keep the next attempt from it.
  using opened = new DisposableStack()
  const common = commonParts(deps, options, holders)
  opened.use(common.store)
  const { net, proxies, addresses, endpoints } = common
  const attachments = opened.use(new AttachmentStore(join(stateDir, 'delegate.db'), clock))
  reportSetAside(attachments.setAside, log)
  const owner = resolve(stateDir)
  const env = { ...pluginEnv, CILIUM_SOCK: socket }
  const netns = home === OWN_NETNS ? {} : { netns: home }
  const executor = new PluginExecutor({ cniPath, timeoutMs, env, owner, concurrency: PLUGINS_AT_ONCE, ...netns })
  const restorer = new Restorer({ net, home, proxies: new Proxies(net, proxies), endpoints, addresses, holders })
  const runner = new CiliumRunner({ ...common, runner: new ListRunner(executor, noCheck), holders, restorer, log })
  const engine = new DelegateAdapter({
    name: 'cilium',
    net,
    clock,
    store: attachments,
    source,
    endOrphans: (ctx) => endOrphans(owner, { clock, ...ctx }),
    runner,
    proxies,
    encrypts: true,
  })
  const adapter = new CiliumSpliceAdapter({ ...common, engine, attachments, home, restorer, holders })
  opened.move()
  return adapter
}
