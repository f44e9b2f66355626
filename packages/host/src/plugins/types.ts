import type { AttachmentKey } from '@cni-offload/sdk'
import type { RawResult } from '@cni-offload/sdk/exec'
import type { SetAside } from '@cni-offload/sdk/sqlite'

/**
 * Where an attachment stands that plugins are run for on this host.
 *
 * - `adding`: plugins may have acted. Found at start-up it means that the daemon died in between.
 * - `added`: they have succeeded.
 * - `ending`: their DEL must succeed before it is forgotten, whoever finds it.
 */
export type PluginPhase = 'adding' | 'added' | 'ending'

/** What is noted of every attachment before a plugin acts for it. */
export interface PluginRequest {
  /** Identity. */
  readonly key: AttachmentKey
  /** CNI_NETNS as given. */
  readonly netns: string
  /** Identity of that namespace: its path may later belong to another one. */
  readonly netnsIdentity: string
  /** Boot of the host during which the namespace exists. */
  readonly bootId: string
}

/** One attachment that plugins are run for. */
export type PluginRow<R extends PluginRequest> = R & {
  /** Number, in the order in which they were begun. */
  readonly seq: number
  /** Where it stands. */
  readonly phase: PluginPhase
  /** What the last plugin printed; present from `added` on. */
  readonly result?: RawResult
  /** Why its end failed the last time. */
  readonly failure?: string
  /** When it was begun, milliseconds since the epoch. */
  readonly createdAt: number
}

/**
 * What the daemon must know again of attachments that plugins were run for. Every method is one transaction, and what it wrote is on
 * the disk when it returns.
 *
 * All methods throw OffloadError JOURNAL_FAILURE when the store does not answer.
 */
export interface PluginJournal<R extends PluginRequest> extends Disposable {
  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined
  /** Notes an attachment before anything is done for it. @throws OffloadError ALREADY_EXISTS when the key has a row */
  begin(request: R): PluginRow<R>
  /** One attachment, undefined if unknown. */
  get(key: AttachmentKey): PluginRow<R> | undefined
  /** All attachments, oldest first. */
  all(): PluginRow<R>[]
  /** Those of a network, oldest first. */
  of(network: string): PluginRow<R>[]
  /** Those that are to be ended, oldest first. */
  ending(): { readonly seq: number; readonly key: AttachmentKey }[]
  /** Notes that the plugins have succeeded. */
  added(key: AttachmentKey, result: RawResult): void
  /** Notes that the attachment's end has begun, and why it has not succeeded yet. */
  end(key: AttachmentKey, failure?: string): void
  /** Forgets the attachment; an unknown one is success. */
  remove(key: AttachmentKey): void
  /** How many there are per phase. */
  counts(): Readonly<Record<PluginPhase, number>>
}
