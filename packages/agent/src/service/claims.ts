import { type AttachmentKey, type AttachResult, type CniAdapter, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import { addressesOf } from './addresses.ts'

interface Claim {
  readonly adapter: CniAdapter | undefined
  readonly addresses: ReadonlySet<string>
}

/**
 * Addresses that running pods use while their attachments are not made again (yet). The pool of a network whose state was lost
 * takes them for free, so that another pod could get them.
 */
export class Claims {
  readonly #byKey = new Map<string, Claim>()

  /** Holds what a running pod has, until {@link drop}. Nothing to hold where the host does not tell. */
  hold(key: AttachmentKey, had: AttachResult | undefined, adapter: CniAdapter | undefined): void {
    if (had !== undefined && had.ips.length > 0) this.#byKey.set(formatAttachmentKey(key), { adapter, addresses: addressesOf(had) })
  }

  /** The attachment is made again, or over. */
  drop(key: AttachmentKey): void {
    this.#byKey.delete(formatAttachmentKey(key))
  }

  /** Drops all but these attachments. */
  retain(ids: ReadonlySet<string>): void {
    for (const id of this.#byKey.keys()) if (!ids.has(id)) this.#byKey.delete(id)
  }

  /**
   * To be asked with what an adapter gave to a new attachment. Networks of one adapter may share a pool.
   *
   * @throws OffloadError RESOURCE_EXHAUSTED naming address and pod
   */
  assertFree(key: AttachmentKey, adapter: CniAdapter, result: AttachResult): void {
    if (this.#byKey.size === 0) return
    const given = addressesOf(result)
    for (const [id, claim] of this.#byKey) {
      const taken = claim.adapter === adapter ? [...given].find((address) => claim.addresses.has(address)) : undefined
      if (taken !== undefined && id !== formatAttachmentKey(key))
        throw new OffloadError('RESOURCE_EXHAUSTED', `adapter "${adapter.name}" gave address ${taken}, which running pod ${id} uses`, {
          hint: 'That pod could not be attached again yet after the network has lost its state; the log says why. Try again then.',
        })
    }
  }
}
