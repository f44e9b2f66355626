import { z } from 'zod'
import type { PluginList } from '@cni-offload/sdk/exec'

const tuning = z.object({ type: z.literal('tuning'), sysctl: z.record(z.string(), z.string()) })

/**
 * Kernel settings that the list's `tuning` plugins make in the pod's namespace. They act on the pod's own stack, which is
 * on the host, so the host has to make them too.
 *
 * `tuning` takes both `.` and `/` for separators and puts in the name of the interface after that, so only there a dot is part
 * of a name; it is written as `/`.
 */
export function podSysctls(list: PluginList, ifName: string): Record<string, string> {
  const settings = list.plugins.flatMap((plugin) => {
    const parsed = tuning.safeParse(plugin)
    return parsed.success ? Object.entries(parsed.data.sysctl) : []
  })
  const dotted = settings.map(([key, value]): [string, string] => [
    key.replaceAll('/', '.').replace('IFNAME', () => ifName.replaceAll('.', '/')),
    value,
  ])
  return Object.fromEntries(dotted.filter(([key]) => key.startsWith('net.')))
}
