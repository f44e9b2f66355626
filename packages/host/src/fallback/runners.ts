import { OWN_NETNS } from '@cni-offload/linux'
import { ListRunner, PluginExecutor } from '@cni-offload/sdk/exec'

/** What runs lists; a `ListRunner`. */
export type FallbackRunner = Pick<ListRunner, 'requirePlugins' | 'add' | 'del' | 'check' | 'status' | 'gc'>

/** Gives the runner for the folders that plugins are in. */
export type FallbackRunners = (binDirs: readonly string[]) => FallbackRunner

/** How lists are run. */
export interface RunnersOptions {
  /** Namespace that the plugins run in: the host's. */
  readonly netns: string
  /** Longest that one plugin may take, in milliseconds. */
  readonly timeoutMs: number
  /** Marks the plugins as this daemon's. */
  readonly owner: string
  /** Types of plugins that are not called with CHECK. */
  readonly noCheck?: readonly string[] | undefined
}

/** Runners of stock plugins on the host, one for each choice of folders. */
export function hostRunners({ netns, timeoutMs, owner, noCheck }: RunnersOptions): FallbackRunners {
  const runners = new Map<string, ListRunner>()
  return (binDirs) => {
    const path = binDirs.join(':')
    const known = runners.get(path)
    if (known !== undefined) return known
    const executor = new PluginExecutor({ cniPath: binDirs, timeoutMs, owner, ...(netns === OWN_NETNS ? {} : { netns }) })
    const made = new ListRunner(executor, noCheck)
    runners.set(path, made)
    return made
  }
}
