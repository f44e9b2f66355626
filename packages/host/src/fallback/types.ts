import type { PodIdentity } from '@cni-offload/sdk'
import type { PluginList } from '@cni-offload/sdk/exec'
import type { PluginJournal, PluginPhase, PluginRequest, PluginRow } from '../plugins/types.ts'
import type { FallbackReason } from './plan.ts'

/** Where an attachment on the host's network stands; `added`: the pod has its network and the runtime was told so. */
export type FallbackPhase = PluginPhase

/** What a list was run with: DEL and CHECK take it from here, whatever the configuration says by then. */
export interface FallbackCall {
  /** The list. */
  readonly list: PluginList
  /** Folders of its plugins. */
  readonly binDirs: readonly string[]
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>
  /** Capability arguments. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>
  /** `args.cni` of the runtime's configuration. */
  readonly cni?: Readonly<Record<string, unknown>>
}

/** What an attachment is begun with. */
export interface FallbackRequest extends PluginRequest {
  /** Why it is not offloaded. */
  readonly reason: FallbackReason
  /** Whose interface it is. */
  readonly pod: PodIdentity
  /** What the list is run with. */
  readonly call: FallbackCall
}

/** One attachment on the host's network. */
export type FallbackRow = PluginRow<FallbackRequest>

/** What the daemon must know again of attachments on the host's network. */
export type FallbackJournal = PluginJournal<FallbackRequest>
