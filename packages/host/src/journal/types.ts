import type { AttachmentKey, AttachResult, PodIdentity, VfHealth, VfId, VirtualFunction } from '@cni-offload/sdk'
import type { SetAside } from '@cni-offload/sdk/sqlite'
import type { AttachCall } from '@cni-offload/protocol'

/**
 * Where an attachment stands on the host.
 *
 * - `leased`: it has a VF; pod and DPU may have been touched. Found at start-up it means that the daemon died in between.
 * - `attached`: the agent answered; the pod may not be complete yet.
 * - `wired`: the pod has its network and the runtime was told so.
 * - `detaching`: its end has begun and must be finished, whoever finds it.
 */
export type AttachmentPhase = 'leased' | 'attached' | 'wired' | 'detaching'

/** What the agent is asked for, without the VF. What the host can enforce for that stands in it once it is leased, and stays so. */
export type AttachIntent = Omit<AttachCall, 'vf' | 'vfMac' | 'had'>

/** What a lease is asked for with. */
export interface LeaseRequest {
  /** What the agent will be asked for. */
  readonly intent: AttachIntent
  /** CNI_NETNS as given. */
  readonly netns: string
  /** Identity of that namespace: its path may later belong to another one. */
  readonly netnsIdentity: string
  /** Boot of the host during which the namespace exists. */
  readonly bootId: string
  /** The very VF that is wanted, when a device plugin has chosen it: its PCI address or `device/index`. */
  readonly deviceId?: string
  /** Which VFs may be given; any, if absent. */
  readonly eligible?: (vf: VfId) => boolean
}

/** One attachment of the journal. */
export interface AttachmentRow {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF; no two rows have the same one. */
  readonly vf: VfId
  /** MAC of the VF in its pristine state. */
  readonly vfMac: string
  /** PCI address of the VF, where it has one. */
  readonly pciAddress?: string
  /** Userspace driver that had the VF when it was leased: there is no interface then. */
  readonly userspace?: string
  /** Where it stands. */
  readonly phase: AttachmentPhase
  /** CNI_NETNS as given. */
  readonly netns: string
  /** Identity of that namespace when the VF was leased. */
  readonly netnsIdentity: string
  /** Whose interface it is. */
  readonly pod: PodIdentity
  /** What the agent was asked for. */
  readonly intent: AttachIntent
  /** What the agent answered; present from `attached` on. */
  readonly result?: AttachResult
  /** Boot of the host during which it was made. */
  readonly bootId: string
  /** When the VF was leased, milliseconds since the epoch. */
  readonly createdAt: number
}

/** A VF as it shows without its attachment: `quarantined` ones belong to nobody but are not known to be clean on both sides yet. */
export type VfState = 'free' | 'leased' | 'quarantined'

/** One VF of the journal. */
export interface VfRow {
  /** Identity. */
  readonly vf: VfId
  /** PCI address, where it has one. */
  readonly pciAddress?: string
  /** Userspace driver that has it: it is leased only to attachments that name it. */
  readonly userspace?: string
  /** Whether the hardware says that it can be used. */
  readonly health: VfHealth
  /** Whether it can be leased. */
  readonly state: VfState
  /** When it was given back, as a number that rises: the lowest has been free longest. */
  readonly turn: number
  /** Whether it is leased only to attachments that name it. */
  readonly reserved: boolean
  /** Who has it, or had it last while it is quarantined. */
  readonly key?: AttachmentKey
}

/** Which parts of a clean-up are left, and why. */
export interface CleanupLeft {
  /** The VF has to be brought back to its pristine state. */
  readonly release: boolean
  /** The agent has to confirm the detach. */
  readonly detach: boolean
  /** Why it could not be done at once. */
  readonly reason: string
}

/** What is left to be done for an attachment that is over. */
export interface CleanupRow extends CleanupLeft {
  /** Position in the queue. */
  readonly seq: number
  /** The attachment that was. */
  readonly key: AttachmentKey
  /** Its VF, quarantined until the row is gone. */
  readonly vf: VfId
  /** CNI_NETNS as it was given. */
  readonly netns: string
  /** Identity of that namespace. */
  readonly netnsIdentity: string
}

/** A running attachment that the journal has lost and the agent still has. Where the pod's namespace lies is not known. */
export interface AdoptedAttachment {
  /** What the agent had been asked for. */
  readonly intent: AttachIntent
  /** Its VF. */
  readonly vf: VfId
  /** What the agent had answered. */
  readonly result: AttachResult
  /** Boot of the host. */
  readonly bootId: string
}

/** How many VFs and rows there are. */
export interface JournalCounts {
  /** VFs per state; unhealthy ones that nobody has are counted apart. */
  readonly vfs: Readonly<Record<VfState | 'unhealthy', number>>
  /** Length of the queue of clean-ups. */
  readonly queue: number
}

/**
 * What the daemon must know again after a crash. Every method is one transaction and has happened when it returns.
 *
 * All methods throw OffloadError JOURNAL_FAILURE when the store does not answer, and those that are events of the lifecycle
 * also, having written nothing, when the event is refused.
 *
 * @see LIFECYCLE
 */
export interface AttachmentJournal extends Disposable {
  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined
  /** Takes over what the hardware has: new VFs become free, known ones keep their state, missing ones become unhealthy. */
  syncVfs(found: readonly VirtualFunction[]): void
  /** Notes the health of a VF, or of all VFs of a device when `index` is absent. */
  setHealth(of: { readonly device: string; readonly index?: number }, health: VfHealth): void
  /**
   * Makes a VF unhealthy until it is restored or the journal is closed, whatever the hardware says of it meanwhile: it is not known to be
   * clean.
   */
  withdraw(vf: VfId): void
  /** Makes a VF healthy that was withdrawn: it is clean. */
  restore(vf: VfId): void
  /**
   * Sets which VFs are leased only to attachments that name them, instead of those set before; they may be unknown yet. It
   * follows from the configuration and lasts until the journal is closed.
   */
  reserve(vfs: readonly VfId[]): void
  /**
   * Gives a free, healthy, eligible VF to a new attachment: the very one that is asked for, otherwise of those that are neither
   * reserved nor with a userspace driver the one that was given back longest ago.
   *
   * @throws OffloadError NO_FREE_VF; ALREADY_EXISTS when the key has a row; INVALID_NETCONF when there is no VF with the
   * device id, or it is not eligible
   */
  lease(request: LeaseRequest): AttachmentRow
  /** One attachment, undefined if unknown. */
  get(key: AttachmentKey): AttachmentRow | undefined
  /** All attachments, oldest first. */
  all(): AttachmentRow[]
  /** Attachments of a network in a phase, oldest first. */
  keysOf(network: string, phases: readonly AttachmentPhase[]): AttachmentKey[]
  /** Attachments of all networks in a phase, oldest first, without the rest of their rows: cheap enough to be asked all the time. */
  keysIn(phase: AttachmentPhase): AttachmentKey[]
  /** Notes what the network has become for a running pod, once the pod has it. */
  renewed(key: AttachmentKey, result: AttachResult): void
  /** Notes the addresses that the agent has to be told, given on this host. */
  addressed(key: AttachmentKey, hostIpam: NonNullable<AttachIntent['hostIpam']>): void
  /** Notes the agent's answer. */
  attached(key: AttachmentKey, result: AttachResult): void
  /** Notes that the pod has its network. */
  wired(key: AttachmentKey): void
  /** Notes that the attachment's end has begun. */
  detaching(key: AttachmentKey): void
  /** Forgets the attachment and frees its VF. */
  free(key: AttachmentKey): void
  /** Forgets the attachment, quarantines its VF and queues what is left to do. */
  quarantine(key: AttachmentKey, left: CleanupLeft): void
  /** What is left to do, oldest first. */
  queue(): CleanupRow[]
  /** What is left to do for one key. */
  queued(key: AttachmentKey): CleanupRow[]
  /** Notes which part of a clean-up is left, and why. */
  progress(seq: number, left: CleanupLeft): void
  /** Ends a clean-up and frees its VF. */
  finish(seq: number): void
  /** Whether the former journal could not be read and it is not clear yet which attachments exist; lasts over restarts. */
  readonly rebuilding: boolean
  /** Ends {@link rebuilding}. */
  rebuilt(): void
  /**
   * Withholds a free VF whose owner is not known: it is leased to nobody until it is adopted or readmitted. Nothing happens, and
   * false is returned, if it is not free.
   */
  withhold(vf: VfId): boolean
  /** Frees a VF that was withheld. Nothing happens, and false is returned, if it is not withheld. */
  readmit(vf: VfId): boolean
  /**
   * Makes a wired attachment of a VF that was withheld. Nothing happens, and false is returned, if it is not withheld or the key
   * has an attachment.
   */
  adopt(attachment: AdoptedAttachment): boolean
  /** All VFs. */
  vfs(): VfRow[]
  /** Whether there is a free, healthy, eligible VF for an attachment that names none. */
  hasFree(eligible: (vf: VfId) => boolean): boolean
  /** How many there are. */
  counts(): JournalCounts
}
