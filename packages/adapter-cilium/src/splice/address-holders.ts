import { type AttachmentKey, formatAttachmentKey } from '@cni-offload/sdk'
import { plainAddress } from '../agent-api/wishes.ts'

/** Who has which address, at hand for every ADD without reading a row. */
export class AddressHolders {
  readonly #ips = new Map<string, readonly string[]>()
  /** More than one only while something goes wrong. */
  readonly #holders = new Map<string, Map<string, string>>()
  readonly #byContainer = new Map<string, Set<string>>()
  readonly #claimed = new Set<string>()
  /** How many plugins take addresses for an owner. */
  readonly #taking = new Map<string, number>()

  /** An attachment has these addresses now, and no others. @param owner - in the agent's words */
  set(key: AttachmentKey, owner: string, ips: readonly string[]): void {
    this.#remove(key)
    const id = formatAttachmentKey(key)
    const plain = ips.map(plainAddress)
    this.#ips.set(id, plain)
    this.#byContainer.set(key.containerId, (this.#byContainer.get(key.containerId) ?? new Set()).add(id))
    for (const ip of plain) this.#holders.set(ip, (this.#holders.get(ip) ?? new Map<string, string>()).set(id, owner))
  }

  /** An attachment is gone; an unknown one is success. */
  delete(key: AttachmentKey): void {
    this.served(this.#ips.get(formatAttachmentKey(key)) ?? [])
    this.#remove(key)
  }

  /**
   * These addresses are, or are about to be, taken for an attachment whose endpoint is still to come: no endpoint gives them back.
   *
   * @returns those of which that was not known
   */
  claim(ips: readonly string[]): readonly string[] {
    const added = ips.map(plainAddress).filter((ip) => !this.#claimed.has(ip))
    for (const ip of added) this.#claimed.add(ip)
    return added
  }

  /** Nobody but an endpoint has these addresses: they go with it. */
  served(ips: readonly string[]): void {
    for (const ip of ips) this.#claimed.delete(plainAddress(ip))
  }

  /** Those addresses of an attachment that only a claim holds. */
  claimedBy(key: AttachmentKey): readonly string[] {
    return (this.#ips.get(formatAttachmentKey(key)) ?? []).filter((ip) => this.#claimed.has(ip))
  }

  /** Whether another interface of the same container is attached. */
  hasSibling(key: AttachmentKey): boolean {
    const siblings = this.#byContainer.get(key.containerId)
    return siblings !== undefined && siblings.size > Number(siblings.has(formatAttachmentKey(key)))
  }

  /** Owner of an address that an attachment, but for the one that is named, has; undefined if none has. */
  other(ip: string, key?: AttachmentKey): string | undefined {
    const but = key === undefined ? undefined : formatAttachmentKey(key)
    for (const [id, owner] of this.#holders.get(plainAddress(ip)) ?? []) if (id !== but) return owner
    return undefined
  }

  /** Whether an attachment, but for the one that is named, has an address. */
  othersHave(ip: string, key?: AttachmentKey): boolean {
    return this.other(ip, key) !== undefined
  }

  /** A plugin takes addresses for an owner until this is disposed; only then it is known which. */
  take(owner: string): Disposable {
    const add = (count: number): unknown => this.#taking.set(owner, (this.#taking.get(owner) ?? 0) + count)
    add(1)
    return {
      [Symbol.dispose]: () => {
        if (this.#taking.get(owner) === 1) this.#taking.delete(owner)
        else add(-1)
      },
    }
  }

  /** Whether a plugin is taking addresses for an owner. */
  taking(owner: string): boolean {
    return this.#taking.has(owner)
  }

  #remove(key: AttachmentKey): void {
    const id = formatAttachmentKey(key)
    for (const ip of this.#ips.get(id) ?? []) {
      const holders = this.#holders.get(ip)
      holders?.delete(id)
      if (holders?.size === 0) this.#holders.delete(ip)
    }
    this.#ips.delete(id)
    const siblings = this.#byContainer.get(key.containerId)
    siblings?.delete(id)
    if (siblings?.size === 0) this.#byContainer.delete(key.containerId)
  }
}
