import { type AttachmentKey, type Clock, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import { aborted, KeyedMutex } from '@cni-offload/sdk/runtime'
import type { CiliumClient } from '../api/client.ts'
import { CiliumApiError } from '../api/api-error.ts'
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { AttachmentStore, DueDeletion } from '../state/attachment-store.ts'
import { reached } from '../steps.ts'
import type { AddressBook, Spared } from './address-book.ts'
import { endpointId } from './identity.ts'

/** What {@link Deletions} works with. */
export interface DeletionsParts {
  /** The agent. */
  readonly client: CiliumClient
  /** Where due deletions are kept. */
  readonly store: AttachmentStore
  /** Addresses. */
  readonly addresses: AddressBook
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** A number from 0 up to 1, anew at each call. */
  readonly random: () => number
  /**
   * Whether addresses of this adapter are on record before anything else may happen to them. Otherwise what no attachment has may be
   * on its way to one, and is only given back when it still is nobody's later.
   */
  readonly recorded: boolean
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

/** Longer than a request waits inside of the agent for its turn, and than it goes on with an old list of addresses; milliseconds. */
const LATE_MS = 20_000

/** Removes endpoints, at once or, where the agent is away, as soon as it is back: a deletion that is due outlives everything. */
export class Deletions implements AsyncDisposable {
  /** Held by whoever works on an attachment, so that a late deletion never hits what was made anew. */
  readonly turns: KeyedMutex = new KeyedMutex()
  readonly #parts: DeletionsParts
  readonly #stop = new AbortController()
  #added = Promise.withResolvers<void>()
  #work: Promise<void> | undefined

  /** Deletes nothing yet. */
  constructor(parts: DeletionsParts) {
    this.#parts = parts
  }

  /** Begins to do what is due. */
  start(): void {
    this.#work ??= this.#repeat()
  }

  /**
   * Removes the endpoint of an attachment with its addresses, and forgets the attachment. If that is not possible now it is due; the
   * caller has the attachment's turn.
   *
   * @param unsure - whether the agent may still be about to make the endpoint: then it is looked for once more, later
   */
  async delete(deletion: DueDeletion, unsure: boolean, caller: Caller): Promise<void> {
    const { store, clock } = this.#parts
    try {
      const gone = await this.#perform(deletion, { ...caller, patience: NO_PATIENCE })
      reached('cilium.detach.deleted')
      if (gone || !unsure) {
        store.delete(deletion.key)
        return reached('cilium.detach.forgotten')
      }
      this.#putOff({ ...deletion, notBefore: clock.now() + LATE_MS })
    } catch (error) {
      // Whatever the agent says or does not say: a detach that has cut the port off is done as far as its caller is concerned.
      caller.log.warn({ key: formatAttachmentKey(deletion.key), error }, 'the endpoint cannot be deleted now; it is as soon as it can be')
      this.#putOff(deletion)
    }
  }

  /**
   * Does what is due for one attachment; nothing may be made for it before. The caller has its turn.
   *
   * @param spared - addresses that its running pod is about to get back
   */
  async settle(key: AttachmentKey, caller: Caller, spared: Spared = []): Promise<void> {
    const { store } = this.#parts
    const deletion = store.deletion(key)
    if (deletion === undefined) return
    const ripe = this.#ripe(deletion)
    if (!ripe && deletion.made === true) return
    await this.#perform(deletion, caller, spared)
    reached('cilium.deletion.made-up-for')
    if (ripe) store.deleted(key)
    else store.putDeletion({ ...deletion, ips: [], made: true })
    reached('cilium.deletion.forgotten')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the adapter is stopping'))
    await this.#work
  }

  #putOff(deletion: DueDeletion): void {
    this.#parts.store.postpone(deletion)
    reached('cilium.detach.put-off')
    this.#added.resolve()
  }

  #ripe({ notBefore = 0 }: DueDeletion, now: number = this.#parts.clock.now()): boolean {
    return notBefore <= now
  }

  /** @returns whether there was an endpoint */
  async #perform(deletion: DueDeletion, caller: Caller, spared: Spared = []): Promise<boolean> {
    const { addresses, recorded } = this.#parts
    const { key, owner, made, notBefore } = deletion
    const gone = made !== true && (await this.#deleteEndpoint(key, caller))
    // With an endpoint its addresses go; without one they may still be held for it.
    const strays = owner !== '' && (recorded || (notBefore !== undefined && this.#ripe(deletion)))
    if (!gone) await addresses.giveBack(deletion, strays, caller, spared)
    return gone
  }

  async #deleteEndpoint(key: AttachmentKey, caller: Caller): Promise<boolean> {
    return await this.#parts.client.deleteEndpoint(endpointId(key), caller).catch((error: unknown) => {
      // What the agent calls invalid it does not have, and repeating it would not help.
      if (!(error instanceof CiliumApiError) || error.status !== 400) throw error
      caller.log.warn({ key: formatAttachmentKey(key), error }, 'cilium-agent does not understand the deletion of an endpoint')
      return false
    })
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted;) {
      this.#added = Promise.withResolvers<void>()
      const { clock, log } = this.#parts
      const { failed, next } = await this.#retryRipe().catch((error: unknown) => {
        log.error({ error }, 'the deletions that are due cannot be read; they are looked for again')
        return { failed: true, next: LATE_MS }
      })
      if (signal.aborted) return
      failures = failed ? failures + 1 : 0
      if (failed) await clock.sleep(Math.min(this.#pause(failures), next), signal).catch(() => {})
      else await this.#rest(next)
    }
  }

  /** Until there is more to do. @param ms - at most so long, if it is finite */
  async #rest(ms: number): Promise<void> {
    const added = new AbortController()
    void this.#added.promise.then(() => added.abort())
    const signal = AbortSignal.any([this.#stop.signal, added.signal])
    await (Number.isFinite(ms) ? this.#parts.clock.sleep(ms, signal).catch(() => {}) : aborted(signal))
  }

  /** @returns whether anything could not be done, and how soon more is to be done, milliseconds; infinite if nothing is */
  async #retryRipe(): Promise<{ readonly failed: boolean; readonly next: number }> {
    const { store, clock } = this.#parts
    let failed = false
    // What gets ripe meanwhile is left for the next time, not passed over.
    const begin = clock.now()
    for (const { key } of store.deletions().filter((deletion) => this.#ripe(deletion, begin)))
      await this.#retry(key).catch((error: unknown) => {
        failed = true
        this.#tell(key, error)
      })
    const left = this.#stop.signal.aborted ? [] : store.deletions().filter((deletion) => !this.#ripe(deletion, begin))
    // A clock that is set back must not delay it.
    const waits = left.map(({ notBefore = 0 }) => Math.min(Math.max(notBefore - clock.now(), 0), LATE_MS))
    return { failed, next: Math.min(...waits) }
  }

  async #retry(key: AttachmentKey): Promise<void> {
    const caller = { signal: this.#stop.signal, log: this.#parts.log, patience: NO_PATIENCE }
    await this.turns.run(formatAttachmentKey(key), caller.signal, () => this.settle(key, caller))
  }

  #tell(key: AttachmentKey, error: unknown): void {
    if (!this.#stop.signal.aborted)
      this.#parts.log.warn({ key: formatAttachmentKey(key), error }, 'the endpoint could still not be deleted; it is tried again')
  }

  #pause(failures: number): number {
    const full = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS)
    return full / 2 + (this.#parts.random() * full) / 2
  }
}
