import { type AttachmentKey, formatAttachmentKey } from '@cni-offload/sdk'
import type { StoredAttachment } from './attachment-store.ts'

/** Which attachments there are and who has which address: what is asked at every allocation, at hand without reading a row. */
export class AttachmentIndex {
  readonly #entries = new Map<string, { readonly key: AttachmentKey; readonly ips: ReadonlySet<string> }>()
  /** More than one only if something went wrong, or while a running pod is attached anew. */
  readonly #holders = new Map<string, Set<string>>()

  /** An attachment is as given now. */
  set({ request: { key }, ips, again }: StoredAttachment): void {
    this.delete(key)
    const id = formatAttachmentKey(key)
    const all = new Set([...ips, ...(again?.ips ?? [])])
    this.#entries.set(id, { key, ips: all })
    for (const ip of all) {
      const holders = this.#holders.get(ip) ?? new Set()
      this.#holders.set(ip, holders.add(id))
    }
  }

  /** An attachment is gone; an unknown one is success. */
  delete(key: AttachmentKey): void {
    const id = formatAttachmentKey(key)
    for (const ip of this.#entries.get(id)?.ips ?? []) {
      const holders = this.#holders.get(ip)
      holders?.delete(id)
      if (holders?.size === 0) this.#holders.delete(ip)
    }
    this.#entries.delete(id)
  }

  /** All attachments. */
  keys(): AttachmentKey[] {
    return Array.from(this.#entries.values(), ({ key }) => key)
  }

  /** Whether any attachment, but for the one that is named, has an address, or has to get it back. */
  othersHave(ip: string, key?: AttachmentKey): boolean {
    const holders = this.#holders.get(ip)
    return holders !== undefined && holders.size > Number(key !== undefined && holders.has(formatAttachmentKey(key)))
  }
}
