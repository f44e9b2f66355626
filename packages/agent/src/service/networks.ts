import { type CniAdapter, OffloadError } from '@cni-offload/sdk'

/** Serves every network that no adapter is named for. */
export const ANY_NETWORK: '*' = '*'

/** Which adapter serves which network. */
export class Networks {
  readonly #byName: ReadonlyMap<string, CniAdapter>

  /** Takes adapters by network name; `*` is the one for all other names. */
  constructor(byName: ReadonlyMap<string, CniAdapter>) {
    this.#byName = byName
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
