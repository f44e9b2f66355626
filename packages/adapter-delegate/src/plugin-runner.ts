import type { AttachRequest } from '@cni-offload/sdk'
import type { ListCall, ListRunner, PluginList, RawResult } from '@cni-offload/sdk/exec'

/** A list call with what it is for. */
export interface AttachmentCall extends ListCall {
  /** What was asked for; absent where only key and port of an attachment are known any more. */
  readonly request?: AttachRequest
  /** DEL only: what is undone is made anew right after, for a running pod that keeps its MAC and addresses. */
  readonly anew?: boolean
  /** What {@link PluginRunner.keep} said when the attachment was made. */
  readonly kept?: Kept
}

/** What a runner wants to be kept with an attachment. */
export type Kept = Readonly<Record<string, string>>

/** What runs the plugin lists of a {@link DelegateAdapter}: a {@link ListRunner}, or what drives one particular CNI more closely. */
export interface PluginRunner extends Pick<ListRunner, 'requirePlugins' | 'status'> {
  /** As of {@link ListRunner}; with `again` for a running pod, which must get just that. */
  add(call: AttachmentCall, signal: AbortSignal): Promise<RawResult>
  /** What the next calls for the attachment, which was just made, have to know. Kept with its row, also while it is made anew. */
  keep?(call: AttachmentCall, signal: AbortSignal): Promise<Kept>
  /** As of {@link ListRunner}. */
  del(call: AttachmentCall, prevResult: RawResult | undefined, signal: AbortSignal): Promise<void>
  /** As of {@link ListRunner}. */
  check(call: AttachmentCall, prevResult: RawResult, signal: AbortSignal): Promise<void>
  /** Kernel settings, by dotted name, that an attachment's host has to make besides those of the list's `tuning` plugins. */
  podSysctls?(list: PluginList): Readonly<Record<string, string>>
  /** Device of the DPU that answers for all gateways of an attachment's pod although it does not have their addresses. */
  answeringDevice?(call: Pick<AttachmentCall, 'containerId' | 'ifName'>): string
}
