import { type AttachmentKey, type CniAdapter, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'

/** Serves every network that no adapter is named for. */
export const ANY_NETWORK: '*' = '*'

/** Which adapter serves which network. */
export class Networks {
  readonly #byName: ReadonlyMap<string, CniAdapter>
  readonly #forgotten: ReadonlySet<string>

  /**
   * Takes adapters by network name; `*` is the one for all other names.
   *
   * @param forgotten - networks whose attachments are given up without an adapter being asked
   */
  constructor(byName: ReadonlyMap<string, CniAdapter>, forgotten: readonly string[] = []) {
    this.#byName = byName
    this.#forgotten = new Set(forgotten)
  }

  /** Names served, `*` among them if every name is. */
  get names(): string[] {
    return [...this.#byName.keys()]
  }

  /** Every adapter once. */
  get adapters(): CniAdapter[] {
    return [...new Set(this.#byName.values())]
  }

  /** The adapter of a network, undefined if it is not served. */
  find(network: string): CniAdapter | undefined {
    return this.#byName.get(network) ?? this.#byName.get(ANY_NETWORK)
  }

  /** Under which name a network is served, its own or `*`; undefined if it is not served. */
  nameFor(network: string): string | undefined {
    if (this.#byName.has(network)) return network
    return this.#byName.has(ANY_NETWORK) ? ANY_NETWORK : undefined
  }

  /**
   * The adapter that ends an attachment; undefined where it is to be forgotten without one.
   *
   * @throws OffloadError NOT_READY when the network is not served any more: what it holds for the attachment, an address for one, could
   * never be found again
   */
  ending(key: AttachmentKey): CniAdapter | undefined {
    const adapter = this.find(key.network)
    if (adapter !== undefined || this.#forgotten.has(key.network)) return adapter
    throw new OffloadError(
      'NOT_READY',
      `network ${JSON.stringify(key.network)} is not served any more: attachment ${formatAttachmentKey(key)} cannot be ended without its adapter`,
      {
        hint: 'Add the network to the agent\'s configuration again until its pods are gone; or name it in "forget", and free by hand what it holds.',
      },
    )
  }

  /** The adapter of a network. @throws OffloadError INVALID_NETCONF naming the network and those served */
  require(network: string): CniAdapter {
    const adapter = this.find(network)
    if (adapter !== undefined) return adapter
    throw new OffloadError(
      'INVALID_NETCONF',
      `name = ${JSON.stringify(network)}: the agent does not serve this network; it serves ${this.names.join(', ')}`,
      {
        hint: 'Add an adapter for it to the agent\'s configuration ("*" serves every name), or correct "name" in the network configuration.',
      },
    )
  }
}
