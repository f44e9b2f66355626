import { dirname } from 'node:path'
import { ListRunner, PluginExecutor, type PluginListSource } from '@cni-offload/sdk/exec'
import { importBeside, loadPluginOf, type PluginReference } from '@cni-offload/sdk/runtime'
import { type Check, ok } from '../check.ts'

/** An entry of `agent.yaml` that names a plugin. */
export interface PluginEntry {
  /** Path of the entry: `adapters.0`. */
  readonly entry: string
  /** What the plugin has to make. */
  readonly kind: 'adapter' | 'dpu-device'
  /** What is named. */
  readonly reference: PluginReference
}

/** Loads what an entry names, as the agent does. @returns the plugin's name @throws OffloadError INVALID_CONFIG naming file and entry */
export async function pluginName(file: string, { entry, kind, reference }: PluginEntry): Promise<string> {
  const importer = importBeside([dirname(file), process.cwd(), import.meta.dirname])
  return (await loadPluginOf({ file, entry }, kind, reference, importer)).name
}

/** A list of CNI plugins that an adapter runs, and how. */
export interface ListSubject {
  /** Network that it is for. */
  readonly network: string
  /** The list. */
  readonly list: PluginListSource
  /** Folders of the plugins. */
  readonly cniPath: readonly string[]
  /** Longest that one plugin may take, milliseconds. */
  readonly timeoutMs: number
  /** Environment of the plugins. */
  readonly env: Readonly<Record<string, string>>
  /** Network namespace that they run in; this process's own if left out. */
  readonly netns?: string
}

/** Whether the plugins of a list are there, speak its version and, where they can tell, are ready. */
export function pluginListCheck({ network, list: source, ...execution }: ListSubject, id: string, after: readonly string[]): Check {
  return {
    id,
    title: `the CNI plugins of network ${network} are there and ready`,
    after,
    async run(signal) {
      const list = await source.load()
      await new ListRunner(new PluginExecutor(execution)).status(list, signal)
      return ok(`${list.plugins.map(({ type }) => type).join(', ')}, version ${list.cniVersion}`)
    },
  }
}
