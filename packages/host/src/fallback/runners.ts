import { ListRunner } from '@cni-offload/sdk/exec'
import { type HostPlugins, perFolders } from '../plugins/per-folders.ts'

/** What runs lists; a `ListRunner`. */
export type FallbackRunner = Pick<ListRunner, 'requirePlugins' | 'add' | 'del' | 'check' | 'status' | 'gc'>

/** Gives the runner for the folders that plugins are in. */
export type FallbackRunners = (binDirs: readonly string[]) => FallbackRunner

/** Runners of stock plugins on the host. @param noCheck - types of plugins that are not called with CHECK */
export function hostRunners(plugins: HostPlugins, noCheck?: readonly string[]): FallbackRunners {
  return perFolders(plugins, (executor) => new ListRunner(executor, noCheck))
}
