import { CiliumListFile, ciliumOptions, requireCilium, type SpliceOptions } from '@cni-offload/adapter-cilium'
import { type DelegateOptions, delegateOptions } from '@cni-offload/adapter-delegate'
import type { AgentConfig } from '@cni-offload/agent'
import { OWN_NETNS } from '@cni-offload/linux'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { inlineList, PluginListFile, type PluginListSource } from '@cni-offload/sdk/exec'
import { type Check, ok } from './check.ts'
import { type ListSubject, type PluginEntry, pluginListCheck, pluginName } from './general/plugins.ts'

/** An adapter of `agent.yaml`, loaded as the agent does it. */
export interface LoadedAdapter {
  /** Network that it serves. */
  readonly network: string
  /** Name of the plugin: `cilium`, `delegate`, …; undefined if it cannot be loaded. */
  readonly name: string | undefined
  /** Options as they are written; its plugin has accepted them. */
  readonly options: unknown
  /** Whether it can be loaded. */
  readonly check: Check
}

/** Loads the adapters that a configuration names. Never rejects: what does not load fails its check. */
export async function loadAdapters(config: AgentConfig, file: string): Promise<readonly LoadedAdapter[]> {
  return await Promise.all(
    config.adapters.map(async ({ network, plugin, export: name, options }, at) => {
      const entry: PluginEntry = { entry: `adapters.${at}`, kind: 'adapter', reference: { plugin, export: name, options } }
      const loaded = await pluginName(file, entry).catch((error: unknown) => OffloadError.from(error))
      return {
        network,
        name: typeof loaded === 'string' ? loaded : undefined,
        options: options ?? {},
        check: loadCheck(`agent.adapter.${network}`, `the adapter of network ${network} can be loaded`, loaded),
      }
    }),
  )
}

/** Whether the hardware backend that a configuration names can be loaded. */
export async function hardwareCheck(config: AgentConfig, file: string): Promise<Check> {
  const entry: PluginEntry = { entry: 'hardware', kind: 'dpu-device', reference: config.hardware }
  const loaded = await pluginName(file, entry).catch((error: unknown) => OffloadError.from(error))
  return loadCheck('agent.hardware', 'the hardware backend can be loaded', loaded)
}

/** The lists of CNI plugins that adapters run. */
export function listChecks(adapters: readonly LoadedAdapter[]): readonly Check[] {
  return adapters.flatMap((adapter) => {
    const subject = listOf(adapter)
    return subject === undefined ? [] : [pluginListCheck(subject, `agent.plugins.${adapter.network}`, [adapter.check.id])]
  })
}

function listOf({ name, network, options }: LoadedAdapter): ListSubject | undefined {
  if (name === 'delegate') return delegateList(network, parseWith(delegateOptions, options, network, 'INVALID_CONFIG'))
  if (name !== 'cilium') return undefined
  const parsed = parseWith(ciliumOptions, options, network, 'INVALID_CONFIG')
  return parsed.mode === 'splice' ? ciliumList(network, parsed) : undefined
}

function delegateList(network: string, { conflist, conflistFile, cniPath, execTimeoutMs, pluginEnv, netns }: DelegateOptions): ListSubject {
  const list = conflist === undefined ? new PluginListFile(conflistFile ?? '') : inlineList(conflist)
  return { network, list, cniPath, timeoutMs: execTimeoutMs, env: pluginEnv, ...inNetns(netns) }
}

function ciliumList(network: string, options: SpliceOptions): ListSubject {
  const { conflist, conflistFile, cniPath, execTimeoutMs, pluginEnv, socket, netns } = options
  const list: PluginListSource =
    conflist === undefined
      ? new CiliumListFile(conflistFile)
      : { current: conflist, load: () => Promise.try(() => requireCilium(conflist)) }
  return { network, list, cniPath, timeoutMs: execTimeoutMs, env: { ...pluginEnv, CILIUM_SOCK: socket }, ...inNetns(netns) }
}

const inNetns = (netns: string): { readonly netns?: string } => (netns === OWN_NETNS ? {} : { netns })

const loadCheck = (id: string, title: string, loaded: string | OffloadError): Check => ({
  id,
  title,
  after: ['agent.config'],
  run() {
    if (typeof loaded !== 'string') throw loaded
    return ok(loaded)
  },
})
