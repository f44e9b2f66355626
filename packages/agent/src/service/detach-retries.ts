import { type AttachmentKey, type Clock, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import type { AgentLimits } from '../limits.ts'

/** Tries to finish a detach. Resolves when nothing is left to do for the key, rejects when it has to be tried again. */
export type FinishDetach = (key: AttachmentKey, signal: AbortSignal) => Promise<void>

/**
 * Repeats detaches that failed until they succeed, each on its own and with growing pauses.
 *
 * Only a reminder lives here: that a detach is due is in the journal, so a crash forgets nothing.
 */
export class DetachRetries implements AsyncDisposable {
  readonly #finish: FinishDetach
  readonly #clock: Clock
  readonly #limits: Pick<AgentLimits, 'retryFirstMs' | 'retryMaxMs'>
  readonly #log: Logger
  readonly #stop = new AbortController()
  readonly #pending = new Map<string, Promise<void>>()

  /** Takes what finishes a detach; nothing runs before {@link add}. */
  constructor(finish: FinishDetach, clock: Clock, limits: Pick<AgentLimits, 'retryFirstMs' | 'retryMaxMs'>, log: Logger) {
    this.#finish = finish
    this.#clock = clock
    this.#limits = limits
    this.#log = log
  }

  /** How many attachments wait for a retry. */
  get size(): number {
    return this.#pending.size
  }

  /** Has a detach retried. One that waits already is left as it is; after disposal nothing happens. */
  add(key: AttachmentKey): void {
    const id = formatAttachmentKey(key)
    if (this.#stop.signal.aborted || this.#pending.has(id)) return
    this.#pending.set(id, this.#retry(key, id))
  }

  /** Gives up waiting and resolves when no retry runs any more. What is due stays in the journal. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await Promise.all(this.#pending.values())
  }

  async #retry(key: AttachmentKey, id: string): Promise<void> {
    const { signal } = this.#stop
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#clock.sleep(this.#pause(attempt), signal)
        await this.#finish(key, signal)
        break
      } catch (error) {
        if (!signal.aborted) this.#log.warn({ key: id, attempt, err: error }, 'detach failed again and will be retried')
      }
    }
    this.#pending.delete(id)
  }

  #pause(attempt: number): number {
    const full = Math.min(this.#limits.retryFirstMs * 2 ** (attempt - 1), this.#limits.retryMaxMs)
    // Half of it is random, so that many failures of one cause do not come back as one burst.
    return full / 2 + (Math.random() * full) / 2
  }
}
