import { OWN_NETNS } from '@cni-offload/linux'
import { ListRunner, PluginExecutor } from '@cni-offload/sdk/exec'
import { MARKER } from './orphans.ts'

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
  readonly marker: string
}

/** Runners of stock plugins on the host, one for each choice of folders. */
export function hostRunners({ netns, timeoutMs, marker }: RunnersOptions): FallbackRunners {
  const runners = new Map<string, ListRunner>()
  return (binDirs) => {
    const path = binDirs.join(':')
    const known = runners.get(path)
    if (known !== undefined) return known
    const env = { [MARKER]: marker }
    const made = new ListRunner(new PluginExecutor({ cniPath: binDirs, timeoutMs, env, ...(netns === OWN_NETNS ? {} : { netns }) }))
    runners.set(path, made)
    return made
  }
}
