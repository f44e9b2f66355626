import { normalizeIp } from '@cni-offload/linux'
import { type AttachmentKey, type AttachResult, type CniAdapter, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import { unlessAborted } from '../runtime/unless-aborted.ts'

/**
 * Which attachment has which address, as the journal has it: what was attached keeps its addresses until its row is gone. Two networks
 * may use the same addresses, so that an address counts within its network only.
 */
export class Addresses {
  readonly #byKey = new Map<string, readonly string[]>()
  readonly #holders = new Map<string, Set<string>>()
  /** Attachments whose adapter is letting go. */
  readonly #ending = new Map<string, Promise<void>>()

  /** Takes what an attachment has got, in the place of what it had. */
  set(key: AttachmentKey, result: AttachResult): void {
    this.drop(key)
    const id = formatAttachmentKey(key)
    const places = [...addressesOf(result)].map((address) => placeOf(key, address))
    this.#byKey.set(id, places)
    for (const place of places) this.#holders.set(place, (this.#holders.get(place) ?? new Set()).add(id))
  }

  /** The attachment's row is gone. */
  drop(key: AttachmentKey): void {
    const id = formatAttachmentKey(key)
    for (const place of this.#byKey.get(id) ?? []) {
      const holders = this.#holders.get(place)
      holders?.delete(id)
      if (holders?.size === 0) this.#holders.delete(place)
    }
    this.#byKey.delete(id)
  }

  /** The adapter is asked to let go of the attachment, until this is disposed. */
  ending(key: AttachmentKey): Disposable {
    const id = formatAttachmentKey(key)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ending.set(id, promise)
    return {
      [Symbol.dispose]: () => {
        this.#ending.delete(id)
        resolve()
      },
    }
  }

  /**
   * To be asked with what an adapter gave to a new attachment: a pool that has lost its state gives what is in use as if it were free.
   *
   * @throws OffloadError RESOURCE_EXHAUSTED naming address and attachment, or the signal's reason
   */
  async assertFree(key: AttachmentKey, adapter: CniAdapter, result: AttachResult, signal: AbortSignal): Promise<void> {
    for (let taken = this.#taken(key, result); taken !== undefined; taken = this.#taken(key, result)) {
      // An adapter that is just letting go may have freed the address already.
      const ending = this.#ending.get(taken.by)
      if (ending === undefined)
        throw new OffloadError(
          'RESOURCE_EXHAUSTED',
          `adapter "${adapter.name}" gave address ${taken.address}, which attachment ${taken.by} has`,
          { hint: 'The network has lost what it knew of that attachment, or could not end it yet; the log says why. Try again then.' },
        )
      await unlessAborted(ending, signal)
    }
  }

  #taken(key: AttachmentKey, result: AttachResult): { readonly address: string; readonly by: string } | undefined {
    const id = formatAttachmentKey(key)
    for (const address of addressesOf(result))
      for (const by of this.#holders.get(placeOf(key, address)) ?? []) if (by !== id) return { address, by }
    return undefined
  }
}

/** The addresses of an answer, without their prefix lengths, and each in one spelling, whichever its adapter has. */
export const addressesOf = ({ ips }: AttachResult): ReadonlySet<string> =>
  new Set(ips.map(({ address }) => normalizeIp(address.slice(0, address.indexOf('/')))))

const placeOf = ({ network }: AttachmentKey, address: string): string => `${network}/${address}`
