import {
  type AttachmentKey,
  type AttachResult,
  type Clock,
  formatAttachmentKey,
  OffloadError,
  type VfHealth,
  type VfId,
  type VirtualFunction,
} from '@cni-offload/sdk'
import type { SetAside } from '@cni-offload/sdk/sqlite'
import { AttachmentTable } from './attachment-table.ts'
import { CleanupTable } from './cleanup-table.ts'
import { JournalFile } from './journal-file.ts'
import type {
  AdoptedAttachment,
  AttachIntent,
  AttachmentJournal,
  AttachmentPhase,
  AttachmentRow,
  CleanupLeft,
  CleanupRow,
  JournalCounts,
  LeaseRequest,
  VfRow,
} from './types.ts'
import { VfTable } from './vf-table.ts'

/** {@link AttachmentJournal} in one SQLite file, which refuses what the lifecycle does not allow. Calls are synchronous; each takes some 0.05 ms. */
export class SqliteJournal implements AttachmentJournal {
  readonly #file: JournalFile
  readonly #clock: Clock
  readonly #vfs: VfTable
  readonly #attachments: AttachmentTable
  readonly #cleanups: CleanupTable
  readonly #vfsChanged: () => void

  /**
   * Opens or makes the file, with its folder (mode 0700). Nobody else can open it until it is closed.
   *
   * @param vfsChanged - told when health or quarantine of VFs may have changed
   * @throws OffloadError JOURNAL_FAILURE when another daemon has it, or it is no journal, damaged, or of a newer version
   */
  constructor(file: string, clock: Clock, vfsChanged: () => void = () => {}) {
    this.#clock = clock
    this.#vfsChanged = vfsChanged
    using stack = new DisposableStack()
    this.#file = stack.use(new JournalFile(file, clock))
    this.#vfs = new VfTable(this.#file)
    this.#attachments = new AttachmentTable(this.#file)
    this.#cleanups = new CleanupTable(this.#file)
    stack.move()
  }

  /** @inheritDoc */
  get setAside(): SetAside | undefined {
    return this.#file.setAside
  }

  /** @inheritDoc */
  get rebuilding(): boolean {
    return this.#file.rebuilding
  }

  /** @inheritDoc */
  rebuilt(): void {
    this.#file.rebuilt()
  }

  /** @inheritDoc */
  withhold(vf: VfId): boolean {
    return this.#changeVfs(() => this.#vfs.tryMove(vf, 'withhold'))
  }

  /** @inheritDoc */
  readmit(vf: VfId): boolean {
    return this.#changeVfs(() => this.#vfs.tryMove(vf, 'readmit'))
  }

  /** @inheritDoc */
  adopt({ intent, vf, result, bootId }: AdoptedAttachment): boolean {
    return this.#file.transaction(() => {
      const { key } = intent
      if (this.#attachments.has(key) || !this.#vfs.tryMove(vf, 'adopt')) return false
      const userspace = this.#vfs.userspace(vf)
      const nowhere = { netns: '', netnsIdentity: '', ...(userspace === undefined ? {} : { userspace }) }
      this.#attachments.add({ key, vf, phase: 'wired', ...nowhere, intent, result, bootId, createdAt: this.#clock.now() })
      return true
    })
  }

  /** @inheritDoc */
  syncVfs(found: readonly VirtualFunction[]): void {
    this.#changeVfs(() => this.#vfs.sync(found))
  }

  /** @inheritDoc */
  reserve(vfs: readonly VfId[]): void {
    this.#file.transaction(() => this.#vfs.reserve(vfs))
  }

  /** @inheritDoc */
  setHealth(of: { readonly device: string; readonly index?: number }, health: VfHealth): void {
    this.#changeVfs(() => this.#vfs.setHealth(of, health))
  }

  /** @inheritDoc */
  withdraw(vf: VfId): void {
    this.#changeVfs(() => this.#vfs.withdraw(vf))
  }

  /** @inheritDoc */
  restore(vf: VfId): void {
    this.#changeVfs(() => this.#vfs.restore(vf))
  }

  /** @inheritDoc */
  lease(request: LeaseRequest): AttachmentRow {
    const { intent: asked, netns, netnsIdentity, bootId } = request
    const { key, pod } = asked
    return this.#file.transaction(() => {
      if (this.#attachments.has(key)) throw new OffloadError('ALREADY_EXISTS', `attachment ${formatAttachmentKey(key)} exists already`)
      const { device, index, mac: vfMac, pciAddress } = this.#vfs.lease(request)
      const vf = { device, index }
      const hostEnforces = this.#vfs.enforceable(vf)
      const userspace = this.#vfs.userspace(vf)
      const intent = hostEnforces.length === 0 ? asked : { ...asked, hostEnforces }
      const row = {
        key,
        vf,
        vfMac,
        ...(userspace === undefined ? {} : { userspace }),
        phase: 'leased' as const,
        netns,
        netnsIdentity,
        pod,
        intent,
        bootId,
        createdAt: this.#clock.now(),
      }
      this.#attachments.add(row)
      return pciAddress === undefined ? row : { ...row, pciAddress }
    })
  }

  /** @inheritDoc */
  get(key: AttachmentKey): AttachmentRow | undefined {
    return this.#file.guard('read', () => this.#attachments.get(key))
  }

  /** @inheritDoc */
  all(): AttachmentRow[] {
    return this.#file.guard('read', () => this.#attachments.all())
  }

  /** @inheritDoc */
  keysOf(network: string, phases: readonly AttachmentPhase[]): AttachmentKey[] {
    return this.#file.guard('read', () => this.#attachments.keysOf(network, phases))
  }

  /** @inheritDoc */
  keysIn(phase: AttachmentPhase): AttachmentKey[] {
    return this.#file.guard('read', () => this.#attachments.keysIn(phase))
  }

  /** @inheritDoc */
  addressed(key: AttachmentKey, hostIpam: NonNullable<AttachIntent['hostIpam']>): void {
    this.#file.guard('write', () => this.#attachments.addressed(key, hostIpam))
  }

  /** @inheritDoc */
  attached(key: AttachmentKey, result: AttachResult): void {
    this.#file.guard('write', () => this.#attachments.answered('attached', key, result))
  }

  /** @inheritDoc */
  renewed(key: AttachmentKey, result: AttachResult): void {
    this.#file.guard('write', () => this.#attachments.answered('renewed', key, result))
  }

  /** @inheritDoc */
  wired(key: AttachmentKey): void {
    this.#file.guard('write', () => this.#attachments.become(key, 'wired'))
  }

  /** @inheritDoc */
  detaching(key: AttachmentKey): void {
    this.#file.guard('write', () => this.#attachments.become(key, 'detaching'))
  }

  /** @inheritDoc */
  free(key: AttachmentKey): void {
    this.#file.transaction(() => this.#vfs.move(this.#attachments.remove(key, 'free').vf, 'free'))
  }

  /** @inheritDoc */
  quarantine(key: AttachmentKey, left: CleanupLeft): void {
    this.#changeVfs(() => {
      const remains = this.#attachments.remove(key, 'quarantine')
      this.#vfs.move(remains.vf, 'quarantine')
      this.#cleanups.add(remains, left)
    })
  }

  /** @inheritDoc */
  queue(): CleanupRow[] {
    return this.#file.guard('read', () => this.#cleanups.all())
  }

  /** @inheritDoc */
  queued(key: AttachmentKey): CleanupRow[] {
    return this.#file.guard('read', () => this.#cleanups.of(key))
  }

  /** @inheritDoc */
  progress(seq: number, left: CleanupLeft): void {
    this.#file.guard('write', () => this.#cleanups.progress(seq, left))
  }

  /** @inheritDoc */
  finish(seq: number): void {
    this.#changeVfs(() => this.#vfs.move(this.#cleanups.remove(seq), 'finish'))
  }

  /** @inheritDoc */
  vfs(): VfRow[] {
    return this.#file.guard('read', () => this.#vfs.all())
  }

  /** @inheritDoc */
  hasFree(eligible: (vf: VfId) => boolean): boolean {
    return this.#file.guard('read', () => this.#vfs.hasFree(eligible))
  }

  /** @inheritDoc */
  counts(): JournalCounts {
    return this.#file.guard('read', () => ({ vfs: this.#vfs.counts(), queue: this.#cleanups.count() }))
  }

  /** Closes the file. What is in it stays. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]()
  }

  #changeVfs<T>(work: () => T): T {
    const done = this.#file.transaction(work)
    this.#vfsChanged()
    return done
  }
}
