import { type AttachmentKey, type Clock, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import { aborted, KeyedMutex } from '@cni-offload/sdk/runtime'
import type { CiliumClient } from '../api/client.ts'
import { CiliumApiError } from '../api/api-error.ts'
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { AttachmentStore, DueDeletion } from '../state/attachment-store.ts'
import { reached } from '../steps.ts'
import type { AddressBook } from './address-book.ts'
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
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

/** Longer than a request waits inside of the agent for its turn, milliseconds. */
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

  /** Does what is due for one attachment; nothing may be made for it before. The caller has its turn. */
  async settle(key: AttachmentKey, caller: Caller): Promise<void> {
    const deletion = this.#parts.store.deletion(key)
    if (deletion === undefined) return
    await this.#perform(deletion, caller)
    reached('cilium.deletion.made-up-for')
    this.#parts.store.deleted(key)
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

  /** @returns whether there was an endpoint */
  async #perform({ key, ips, owner }: DueDeletion, caller: Caller): Promise<boolean> {
    const { client, addresses } = this.#parts
    const gone = await client.deleteEndpoint(endpointId(key), caller).catch((error: unknown) => {
      // What the agent calls invalid it does not have, and repeating it would not help.
      if (!(error instanceof CiliumApiError) || error.status !== 400) throw error
      caller.log.warn({ key: formatAttachmentKey(key), error }, 'cilium-agent does not understand the deletion of an endpoint')
      return false
    })
    // With an endpoint its addresses go; without one they may still be held for it.
    if (!gone) await addresses.giveBack(key, ips, owner, caller)
    return gone
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted;) {
      this.#added = Promise.withResolvers<void>()
      const { clock, log } = this.#parts
      const done = await this.#retryRipe().catch((error: unknown) => {
        log.error({ error }, 'the deletions that are due cannot be read; they are looked for again')
        return false
      })
      failures = done ? 0 : failures + 1
      if (done) await Promise.race([this.#added.promise, aborted(signal)])
      else await clock.sleep(this.#pause(failures), signal).catch(() => {})
    }
  }

  /** @returns whether nothing is left to be done */
  async #retryRipe(): Promise<boolean> {
    const { store, clock } = this.#parts
    const ripe = store.deletions().filter(({ notBefore = 0 }) => notBefore <= clock.now())
    for (const { key } of ripe) await this.#retry(key).catch((error: unknown) => this.#tell(key, error))
    return this.#stop.signal.aborted || store.deletions().length === 0
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
