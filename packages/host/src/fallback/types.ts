import type { SetAside } from '@cni-offload/sdk/sqlite'
import type { AttachmentKey, PodIdentity } from '@cni-offload/sdk'
import type { PluginList, RawResult } from '@cni-offload/sdk/exec'
import type { FallbackReason } from './plan.ts'

/**
 * Where an attachment on the host's network stands.
 *
 * - `adding`: plugins may have acted. Found at start-up it means that the daemon died in between.
 * - `added`: the pod has its network and the runtime was told so.
 * - `ending`: DEL of its list must succeed before it is forgotten, whoever finds it.
 */
export type FallbackPhase = 'adding' | 'added' | 'ending'

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
export interface FallbackRequest {
  /** Identity. */
  readonly key: AttachmentKey
  /** Why it is not offloaded. */
  readonly reason: FallbackReason
  /** CNI_NETNS as given. */
  readonly netns: string
  /** Identity of that namespace: its path may later belong to another one. */
  readonly netnsIdentity: string
  /** Boot of the host during which the namespace exists. */
  readonly bootId: string
  /** Whose interface it is. */
  readonly pod: PodIdentity
  /** What the list is run with. */
  readonly call: FallbackCall
}

/** One attachment on the host's network. */
export interface FallbackRow extends FallbackRequest {
  /** Number, in the order in which they were begun. */
  readonly seq: number
  /** Where it stands. */
  readonly phase: FallbackPhase
  /** What the list's last plugin printed; present from `added` on. */
  readonly result?: RawResult
  /** Why its end failed the last time. */
  readonly failure?: string
  /** When it was begun, milliseconds since the epoch. */
  readonly createdAt: number
}

/**
 * What the daemon must know again of attachments on the host's network. Every method is one transaction, and what it wrote is on
 * the disk when it returns.
 *
 * All methods throw OffloadError JOURNAL_FAILURE when the store does not answer.
 */
export interface FallbackJournal extends Disposable {
  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined
  /** Notes an attachment before anything is done for it. @throws OffloadError ALREADY_EXISTS when the key has a row */
  begin(request: FallbackRequest): FallbackRow
  /** One attachment, undefined if unknown. */
  get(key: AttachmentKey): FallbackRow | undefined
  /** All attachments, oldest first. */
  all(): FallbackRow[]
  /** Those that are to be ended, oldest first. */
  ending(): Pick<FallbackRow, 'seq' | 'key'>[]
  /** Notes that the pod has its network. */
  added(key: AttachmentKey, result: RawResult): void
  /** Notes that the attachment's end has begun, and why it has not succeeded yet. */
  end(key: AttachmentKey, failure?: string): void
  /** Forgets the attachment; an unknown one is success. */
  remove(key: AttachmentKey): void
  /** How many there are per phase. */
  counts(): Readonly<Record<FallbackPhase, number>>
}
