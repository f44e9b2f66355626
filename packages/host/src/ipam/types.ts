import type { AttachResult } from '@cni-offload/sdk'
import type { DelegateConf } from '@cni-offload/sdk/exec'
import type { PluginJournal, PluginRequest, PluginRow } from '../plugins/types.ts'

/** What an IPAM plugin has given: what the agent is told as `hostIpam`. */
export type HostIpamResult = Pick<AttachResult, 'ips' | 'routes' | 'dns'>

/** What an IPAM plugin is run with: DEL and CHECK take it from the journal, whatever the configuration says by then. */
export interface IpamConf extends DelegateConf {
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>
  /** Folders of the plugin. */
  readonly binDirs: readonly string[]
}

/** What is noted of an attachment before its IPAM plugin is run. */
export interface IpamRequest extends PluginRequest {
  /** What the plugin is run with. */
  readonly conf: IpamConf
}

/** The addresses of one attachment. */
export type IpamRow = PluginRow<IpamRequest>

/** What the daemon must know again of addresses that IPAM plugins have given on this host. */
export type IpamJournal = PluginJournal<IpamRequest>
