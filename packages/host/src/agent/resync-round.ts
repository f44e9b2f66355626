import type { AttachCall } from '@cni-offload/protocol'
import { type AttachmentKey, formatAttachmentKey } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'

/**
 * What one resync tells the agent, and how far the agent has come with it.
 *
 * Calls pass while it runs. The agent leaves alone what has changed since its snapshot, but it would make again what the list
 * names and a detach has just ended. So an attachment whose end begins before its turn in the list is left out, and one that
 * was named is not ended before the agent has reported on it.
 */
export class ResyncRound implements Disposable {
  readonly #calls: readonly AttachCall[]
  readonly #ended = new Set<string>()
  readonly #named = new Map<string, PromiseWithResolvers<void>>()

  /** @param calls - all that the host has */
  constructor(calls: readonly AttachCall[]) {
    this.#calls = calls
  }

  /** The list for the agent. */
  async *list(): AsyncGenerator<AttachCall, void, undefined> {
    for (const call of this.#calls) {
      const id = formatAttachmentKey(call.key)
      if (this.#ended.has(id)) continue
      this.#named.set(id, Promise.withResolvers())
      yield call
    }
  }

  /** Notes that the agent is done with an attachment. */
  reported(key: AttachmentKey): void {
    const id = formatAttachmentKey(key)
    this.#named.get(id)?.resolve()
    this.#named.delete(id)
  }

  /** Has to be called before an attachment is ended; resolves when the agent may be told. @throws the signal's reason */
  async ending(key: AttachmentKey, signal: AbortSignal): Promise<void> {
    const id = formatAttachmentKey(key)
    this.#ended.add(id)
    const named = this.#named.get(id)
    if (named === undefined) return
    await Promise.race([named.promise, aborted(signal)])
    signal.throwIfAborted()
  }

  /** The agent does nothing more for this resync. */
  [Symbol.dispose](): void {
    for (const { resolve } of this.#named.values()) resolve()
    this.#named.clear()
  }
}
