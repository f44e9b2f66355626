import { formatVfId, type HostDevice, type Logger, OffloadError, type VfId, type VirtualFunction } from '@cni-offload/sdk'
import { deadline, type RepairLedger } from '@cni-offload/sdk/runtime'
import type { AttachmentJournal } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { withheld } from '../undo/rebuild.ts'
import { isAtHome } from '../wiring/userspace.ts'

/** What {@link FreeVfs} works with. */
export interface FreeVfsDeps {
  /** Which VFs nobody has. */
  readonly journal: Pick<AttachmentJournal, 'vfs' | 'withdraw' | 'restore' | 'readmit' | 'rebuilding'>
  /** Where they are. */
  readonly device: HostDevice
  /** When it may act, and what it did. */
  readonly ledger: RepairLedger
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs'>
  /** Log. */
  readonly log: Logger
}

/** Keeps the VFs that nobody has where they can be leased from. */
export class FreeVfs {
  readonly #deps: FreeVfsDeps
  /** VFs that are unhealthy because we say so. */
  readonly #withdrawn = new Set<string>()

  constructor(deps: FreeVfsDeps) {
    this.#deps = deps
  }

  /**
   * Looks at all of them once. One that is away is not leased any more, and brought home; one that the hardware calls unhealthy is
   * not leased any more until it is well. One that is withheld, because nobody knows whose it is, can be leased again once it has come home.
   */
  async look(signal: AbortSignal): Promise<void> {
    const { device, journal, limits, log } = this.#deps
    const before = this.#free()
    const unknown = new Set(withheld(journal).map(formatVfId))
    if (before.size === 0 && unknown.size === 0) return
    const found = await device.discover({ signal: deadline(signal, limits.undoMs), log })
    // One that was leased and given back meanwhile has had another turn, and was rightly away.
    const after = this.#free()
    const still = found.filter(({ id }) => after.has(formatVfId(id)) && after.get(formatVfId(id)) === before.get(formatVfId(id)))
    // Of one without an interface only the agent could tell whether somebody has it, and it has told all.
    const isBack = (vf: VirtualFunction): boolean => vf.netdev !== undefined || (isAtHome(vf) && !journal.rebuilding)
    const home = found.filter((vf) => isBack(vf) && unknown.has(formatVfId(vf.id)))
    await Promise.all([...still.map((vf) => this.#judge(vf, signal)), ...home.map(({ id }) => this.#readmit(id, signal))])
  }

  /** When each free VF was given back. */
  #free(): Map<string, number> {
    return new Map(this.#deps.journal.vfs().flatMap(({ vf, state, turn }) => (state === 'free' ? [[formatVfId(vf), turn] as const] : [])))
  }

  /** Until the first time that it waits nobody can lease the VF: it was free a moment ago. */
  async #judge(vf: VirtualFunction, signal: AbortSignal): Promise<void> {
    const { ledger } = this.#deps
    const { id, health } = vf
    const isHome = isAtHome(vf)
    const subject = `vf ${formatVfId(id)}`
    const withdrawn = this.#withdrawn.has(formatVfId(id))
    if (isHome && health === 'unhealthy') {
      if (!ledger.confirms(subject)) return
      this.#withdraw(id)
      ledger.report(subject, { found: ['the hardware says that it is unhealthy'], reason: 'It is not leased until it is well.' })
    } else if (!isHome) {
      if (!ledger.confirms(subject) || !ledger.mayRepair(subject)) return
      this.#withdraw(id)
      await this.#bringHome(id, ['it is away although nobody has it'], signal, () => this.#restore(id))
    } else if (withdrawn) {
      await this.#bringHome(id, ['it is back after it was away or unhealthy'], signal, () => this.#restore(id))
    } else ledger.fine(subject)
  }

  #withdraw(id: VfId): void {
    this.#withdrawn.add(formatVfId(id))
    this.#deps.journal.withdraw(id)
  }

  #restore(id: VfId): void {
    this.#deps.journal.restore(id)
    this.#withdrawn.delete(formatVfId(id))
  }

  async #readmit(id: VfId, signal: AbortSignal): Promise<void> {
    const { journal, ledger } = this.#deps
    const subject = `vf ${formatVfId(id)}`
    if (!ledger.confirms(subject) || !ledger.mayRepair(subject)) return
    await this.#bringHome(id, ['it has come home, and nobody knows who had it'], signal, () => void journal.readmit(id))
  }

  /** @param clean - makes it leasable */
  async #bringHome(id: VfId, found: readonly string[], signal: AbortSignal, clean: () => void): Promise<void> {
    const { device, ledger, limits, log } = this.#deps
    const subject = `vf ${formatVfId(id)}`
    const ctx = { signal: deadline(signal, limits.undoMs), log }
    let now: VirtualFunction | undefined
    try {
      await device.release(id, {}, ctx)
      // What it was found to be before may be over.
      now = (await device.discover(ctx)).find((vf) => formatVfId(vf.id) === formatVfId(id))
    } catch (error) {
      if (signal.aborted) return
      const reason = `${OffloadError.from(error).message}; it is not leased`
      return ledger.repaired(subject, { action: 'reclaim', found, outcome: 'failed', reason })
    }
    // A later look sees to it again.
    if (now?.health !== 'healthy') return
    clean()
    ledger.repaired(subject, { action: 'reclaim', found, outcome: 'repaired' })
  }
}
