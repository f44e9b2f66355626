import type { ListCall, PluginList } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import type { FallbackRow } from './types.ts'

const record = z.record(z.string(), z.unknown())

/** A list whose plugins get the `args` of the runtime's configuration; what a runtime says goes before what the list has. */
export function withArgs(list: PluginList, args: unknown): PluginList {
  const given = record.safeParse(args)
  if (!given.success) return list
  return { ...list, plugins: list.plugins.map((plugin) => ({ ...plugin, args: merged(plugin['args'], given.data) })) }
}

/** The list's call for an attachment. @param netns - empty where the namespace is gone */
export function listCall({ key, call }: FallbackRow, netns: string): ListCall {
  const { list, args, runtimeConfig } = call
  return { list, containerId: key.containerId, netns, ifName: key.ifName, args, runtimeConfig }
}

/** Arguments are grouped by who they are for (`cni`, …), so the groups are merged too. */
function merged(own: unknown, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const base = record.safeParse(own)
  if (!base.success) return given
  const groups = Object.entries(given).map(([group, values]): [string, unknown] => {
    const [before, now] = [record.safeParse(base.data[group]), record.safeParse(values)]
    return [group, before.success && now.success ? { ...before.data, ...now.data } : values]
  })
  return { ...base.data, ...Object.fromEntries(groups) }
}
