import { DelegateRunner } from '@cni-offload/sdk/exec'
import { type HostPlugins, perFolders } from '../plugins/per-folders.ts'

/** What runs IPAM plugins; a `DelegateRunner`. */
export type IpamRunner = Pick<DelegateRunner, 'requirePlugin' | 'add' | 'del' | 'check' | 'status' | 'gc'>

/** Gives the runner for the folders that plugins are in. */
export type IpamRunners = (binDirs: readonly string[]) => IpamRunner

/** Runners of IPAM plugins on the host. */
export function ipamRunners(plugins: HostPlugins): IpamRunners {
  return perFolders(plugins, (executor) => new DelegateRunner(executor))
}
