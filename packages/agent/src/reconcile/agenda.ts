import { type AttachmentKey, type Clock, formatAttachmentKey } from '@cni-offload/sdk'

/** Which attachment is to be checked next, and when: the one that has waited longest first, new ones before all others. */
export class Agenda {
  readonly #clock: Clock
  readonly #due = new Map<string, { readonly key: AttachmentKey; readonly at: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes over what there is: what is new is due at once, what is gone is forgotten. */
  set(keys: readonly AttachmentKey[]): void {
    const ids = new Set(keys.map(formatAttachmentKey))
    for (const id of this.#due.keys()) if (!ids.has(id)) this.#due.delete(id)
    for (const key of keys) if (!this.#due.has(formatAttachmentKey(key))) this.put(key, 0)
  }

  /** Makes an attachment due again after a time, in milliseconds. */
  put(key: AttachmentKey, afterMs: number): void {
    this.#due.set(formatAttachmentKey(key), { key, at: this.#clock.monotonic() + afterMs })
  }

  /** The attachment that is overdue longest, undefined if none is. It stays on the agenda. */
  next(): AttachmentKey | undefined {
    let first: { readonly key: AttachmentKey; readonly at: number } | undefined
    for (const entry of this.#due.values()) if (first === undefined || entry.at < first.at) first = entry
    return first !== undefined && first.at <= this.#clock.monotonic() ? first.key : undefined
  }
}
