import { OWN_NETNS } from '@cni-offload/linux'
import { PluginExecutor } from '@cni-offload/sdk/exec'
import { z } from 'zod'

/** Where plugins are looked for unless somebody says otherwise. */
export const DEFAULT_BIN_DIRS: readonly string[] = ['/opt/cni/bin', '/usr/lib/cni']

/** Schema of folders of plugins. */
export const binDirs: z.ZodReadonly<z.ZodArray<z.ZodString>> = z.array(z.string().regex(/^\//, 'an absolute path')).min(1).readonly()

/** How plugins are executed on this host. */
export interface HostPlugins {
  /** Namespace that they run in: the host's. */
  readonly netns: string
  /** Longest that one may take, in milliseconds. */
  readonly timeoutMs: number
  /** Marks them as this daemon's. */
  readonly owner: string
}

/** What runs the plugins of some folders, made once for each choice of folders. @param make - from what executes them */
export function perFolders<T>(
  { netns, timeoutMs, owner }: HostPlugins,
  make: (executor: PluginExecutor) => T,
): (binDirs: readonly string[]) => T {
  const made = new Map<string, T>()
  return (folders) => {
    const path = folders.join(':')
    const known = made.get(path)
    if (known !== undefined) return known
    const fresh = make(new PluginExecutor({ cniPath: folders, timeoutMs, owner, ...(netns === OWN_NETNS ? {} : { netns }) }))
    made.set(path, fresh)
    return fresh
  }
}
