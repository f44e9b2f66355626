import type { AttachmentKey, AttachResult, VfId } from '@cni-offload/sdk'
import type { SetAside } from '@cni-offload/sdk/sqlite'
import type { AttachCall } from '@cni-offload/protocol'
import type { LifecycleState } from './lifecycle.ts'

/**
 * Where an attachment stands on the DPU.
 *
 * - `attaching`: written before the adapter is asked; found at start-up it means that the agent died in between.
 * - `attached`: the adapter answered and the answer is stored.
 * - `detaching`: written before the adapter is asked to disconnect; it stays until that has succeeded, however often it takes.
 */
export type AttachmentPhase = Exclude<LifecycleState, 'absent'>

/** One attachment of the journal. */
export interface AttachmentRow {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF. No two rows have the same one, whatever their state. */
  readonly vf: VfId
  /** Name of the VF's port on the DPU. */
  readonly port: string
  /** Where it stands. */
  readonly state: AttachmentPhase
  /** What the host asked for. */
  readonly request: AttachCall
  /** The adapter that made it, by `Networks.idOf`, and the only one to end it; undefined in rows that an older agent has written. */
  readonly madeBy?: string
  /** What the adapter answered; present once it was attached. */
  readonly result?: AttachResult
  /** Grows with every change of any row: equal revision, unchanged row. */
  readonly revision: number
}

/**
 * What the agent must know again after a crash. Every method is one transaction and has happened when it returns.
 *
 * All methods throw OffloadError JOURNAL_FAILURE when the store does not answer, and those that are events of the lifecycle
 * also, having written nothing, when the event is refused.
 *
 * @see LIFECYCLE
 */
export interface AttachmentJournal extends Disposable {
  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined
  /** One attachment, undefined if unknown. */
  get(key: AttachmentKey): AttachmentRow | undefined
  /** Does nothing if no other attachment, whatever its state, has the VF. @throws OffloadError ALREADY_EXISTS naming the one that has */
  assertFree(vf: VfId, key: AttachmentKey): void
  /** All attachments, oldest first. */
  all(): AttachmentRow[]
  /** What there is, without the rest of the rows: cheap enough to be asked every few seconds. */
  keys(): Pick<AttachmentRow, 'key' | 'state' | 'revision' | 'madeBy'>[]
  /** How many attachments are in each state. */
  counts(): Readonly<Record<AttachmentPhase, number>>
  /**
   * Writes `attaching` and thereby claims the VF. `had` stays in the row only until it is `attached`.
   *
   * @throws OffloadError ALREADY_EXISTS as {@link assertFree}
   */
  begin(request: AttachCall, port: string, madeBy: string): AttachmentRow
  /** Writes `attached` with the answer. */
  attached(key: AttachmentKey, result: AttachResult): void
  /** Forgets an attachment that could not be made and of which nothing is to be undone, as a running pod has it. */
  abandon(key: AttachmentKey): void
  /**
   * Writes request, port and answer of an attachment that was attached again. Nothing is written before that: until then it
   * stays `attached` as it was, whatever happens.
   */
  renewed(request: AttachCall, port: string, result: AttachResult, madeBy: string): void
  /**
   * Writes `attached` of an attachment that only its adapter remembers.
   *
   * @throws OffloadError ALREADY_EXISTS as {@link assertFree}
   */
  adopt(request: AttachCall, port: string, result: AttachResult, madeBy: string): void
  /** Notes who made an attachment whose row does not tell; any other is left as it is. */
  sign(key: AttachmentKey, madeBy: string): void
  /** Writes `detaching`. */
  detaching(key: AttachmentKey): void
  /** Forgets the attachment and frees its VF. */
  remove(key: AttachmentKey): void
}
