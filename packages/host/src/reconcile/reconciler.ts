import { isDeepStrictEqual } from 'node:util'
import type { ResyncEvent } from '@cni-offload/protocol'
import {
  type AttachmentKey,
  type AttachResult,
  type Clock,
  formatAttachmentKey,
  type Logger,
  OffloadError,
  type OpContext,
} from '@cni-offload/sdk'
import { deadline, type KeyedMutex, Limiter, type RepairLedger } from '@cni-offload/sdk/runtime'
import { addressesChanged } from '../agent/resync.ts'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { enforce } from '../wiring/enforce.ts'
import { examine, type ExamineDeps, type Finding, isElsewhere, reasonsToDoubt } from './examine.ts'
import { FreeVfs } from './free-vfs.ts'
import { obstacle, update } from './update.ts'

/** What a {@link Reconciler} works with. */
export interface ReconcilerDeps extends ExamineDeps {
  /** What should be. */
  readonly journal: Pick<AttachmentJournal, 'get' | 'keysIn' | 'renewed' | 'vfs' | 'withdraw' | 'restore' | 'readmit' | 'rebuilding'>
  /** Locks of attachments. */
  readonly locks: KeyedMutex
  /** When it may act, and what it did. */
  readonly ledger: RepairLedger
  /** Time. */
  readonly clock: Clock
  /** Pauses and deadlines. */
  readonly limits: Pick<HostLimits, 'reconcileMs' | 'undoMs'>
  /** Log. */
  readonly log: Logger
}

/** Least time between two looks, in milliseconds: with very many pods a round takes longer, and does not cost more. */
const LEAST_MS = 20

/** Repairs that are under way at a time. */
const CONCURRENCY = 4

/**
 * Keeps the pods as the journal has them while the daemon runs, and free VFs at home, whether the agent is connected or not.
 *
 * It looks at one pod after the other without holding anything up, and takes an attachment's lock only to repair it: what an ADD, a
 * DEL or a clean-up is working on is left to them.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps
  readonly #freeVfs: FreeVfs
  readonly #places = new Limiter(CONCURRENCY)
  readonly #running = new Set<Promise<void>>()
  #signal: AbortSignal = AbortSignal.abort(new OffloadError('CANCELLED', 'the reconciler does not run'))

  /** Does nothing before {@link Reconciler.run}. */
  constructor(deps: ReconcilerDeps) {
    this.#deps = deps
    this.#freeVfs = new FreeVfs(deps)
  }

  /** Works until the signal aborts, unless it is switched off, and ends with what is under way. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#deps.limits.reconcileMs === 0) return
    this.#signal = signal
    await Promise.all([this.#repeat(() => this.#lookAtPods()), this.#repeat(() => this.#lookAtVfs())])
    await Promise.all(this.#running)
  }

  /**
   * Has to be told what the agent has for an attachment. A running pod follows a change that leaves it its MAC and its addresses.
   *
   * @see Resyncer for other addresses, which are only reported
   */
  heard({ key, result }: ResyncEvent): void {
    if (this.#signal.aborted || result === undefined || !this.#isNews(this.#deps.journal.get(key), result)) return
    if (this.#deps.ledger.mayRepair(formatAttachmentKey(key)))
      this.#begin(() => this.#alone(key, (row, ctx) => this.#follow(row, result, ctx)))
  }

  async #repeat(round: () => Promise<void>): Promise<void> {
    const { clock, limits, log } = this.#deps
    while (!this.#signal.aborted) {
      try {
        await clock.sleep(limits.reconcileMs, this.#signal)
        await round()
      } catch (error) {
        if (!this.#signal.aborted) log.error({ err: error }, 'the reconciler could not look')
      }
    }
  }

  async #lookAtVfs(): Promise<void> {
    await this.#freeVfs.look(this.#signal)
  }

  /** The looks at many pods are spread over the time, so that no ADD meets them all at once. */
  async #lookAtPods(): Promise<void> {
    const { clock, journal, limits, log } = this.#deps
    const keys = journal.keysIn('wired')
    for (const key of keys) {
      await this.#look(key).catch((error: unknown) => {
        log.debug({ key: formatAttachmentKey(key), err: error }, 'the reconciler could not look at a pod')
      })
      await clock.sleep(Math.max(limits.reconcileMs / keys.length, LEAST_MS), this.#signal)
    }
  }

  async #look(key: AttachmentKey): Promise<void> {
    const { journal, ledger, locks } = this.#deps
    const id = formatAttachmentKey(key)
    const row = journal.get(key)
    if (row?.phase !== 'wired' || locks.isLocked(id)) return
    const finding = await examine(this.#deps, row, this.#context(id))
    if (finding === undefined) return ledger.fine(id)
    if (!ledger.confirms(id)) return
    const { found, repair, advice } = finding
    if (repair === undefined) ledger.report(id, { key, found, ...(advice === undefined ? {} : { reason: advice }) })
    else if (ledger.mayRepair(id)) this.#begin(() => this.#alone(key, (current, ctx) => this.#repair(current, ctx)))
  }

  #begin(work: () => Promise<void>): void {
    const running = this.#places
      .run(this.#signal, work)
      .catch((error: unknown) => {
        if (!this.#signal.aborted) this.#deps.log.error({ err: error }, 'the reconciler could not repair')
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Runs work on a wired attachment while nobody else does anything to it, and not at all if somebody does. */
  async #alone(key: AttachmentKey, work: (row: AttachmentRow, ctx: OpContext) => Promise<void>): Promise<void> {
    const { journal, locks } = this.#deps
    const id = formatAttachmentKey(key)
    if (locks.isLocked(id)) return
    using _lock = await locks.acquire(id, this.#signal)
    const row = journal.get(key)
    if (row?.phase === 'wired') await work(row, this.#context(id))
  }

  async #repair(row: AttachmentRow, ctx: OpContext): Promise<void> {
    const { key } = row
    const finding = await examine(this.#deps, row, ctx)
    if (finding?.repair === undefined) return
    const { found, repair } = finding
    const reason = await this.#attempt(async () => {
      await repair.run(ctx)
      return stillWrong(await examine(this.#deps, row, ctx))
    })
    this.#note(key, { action: repair.action, found }, reason)
  }

  /** First the pod, then the journal: a crash in between leaves the old result there, and the next resync begins again. */
  async #follow(row: AttachmentRow, after: AttachResult, ctx: OpContext): Promise<void> {
    const { device, journal, ledger, net } = this.#deps
    const { key, netns, result: before } = row
    if (before === undefined || !this.#isNews(row, after)) return
    const hindered = obstacle(before, after)
    if (hindered !== undefined)
      return ledger.report(formatAttachmentKey(key), {
        key,
        found: [`the network was changed on the DPU: ${hindered}`],
        reason: 'Restart the pod.',
      })
    // Without an interface there is nothing to follow with.
    if (row.userspace !== undefined) return journal.renewed(key, after)
    const { changes, ops } = update(key.ifName, before, after)
    // Where the pod is gone, or the VF away, there is nothing to change: looks deal with that.
    if (netns === '' || (await net.netnsIdentity(netns)) !== row.netnsIdentity) return
    const link = await net.link(netns, key.ifName)
    if (link === undefined || !(await isElsewhere(device, row, ctx))) return
    const doubts = reasonsToDoubt(link, before)
    if (doubts.length > 0)
      return ledger.report(formatAttachmentKey(key), {
        key,
        found: [`the network was changed on the DPU, and ${key.ifName} may not be the pod's VF any more: ${doubts.join('; ')}`],
        reason: 'It is not touched. Restart the pod.',
      })
    const reason = await this.#attempt(async () => {
      ctx.signal.throwIfAborted()
      await enforce(this.#deps, row, after.vf, ctx)
      await net.apply(netns, ops)
      journal.renewed(key, after)
      return undefined
    })
    if (changes.length > 0 || reason !== undefined) this.#note(key, { action: 'update', found: changes }, reason)
  }

  /** Why a piece of work did not succeed, undefined if it did. @throws the signal's reason when the daemon stops */
  async #attempt(work: () => Promise<string | undefined>): Promise<string | undefined> {
    try {
      return await work()
    } catch (error) {
      this.#signal.throwIfAborted()
      return OffloadError.from(error).message
    }
  }

  #note(key: AttachmentKey, what: Pick<Parameters<RepairLedger['repaired']>[1], 'action' | 'found'>, reason: string | undefined): void {
    const outcome = reason === undefined ? 'repaired' : 'failed'
    this.#deps.ledger.repaired(formatAttachmentKey(key), { ...what, key, outcome, ...(reason === undefined ? {} : { reason }) })
  }

  #isNews(row: AttachmentRow | undefined, result: AttachResult): boolean {
    if (row?.phase !== 'wired' || row.result === undefined) return false
    return !isDeepStrictEqual(row.result, result) && addressesChanged(row.result, result) === undefined
  }

  #context(id: string): OpContext {
    return { signal: deadline(this.#signal, this.#deps.limits.undoMs), log: this.#deps.log.child({ key: id }) }
  }
}

function stillWrong(finding: Finding | undefined): string | undefined {
  return finding?.repair === undefined ? undefined : `it did not help: ${finding.found.join('; ')}`
}
