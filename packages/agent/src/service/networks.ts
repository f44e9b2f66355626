import { type CniAdapter, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { AttachmentRow } from '../journal/types.ts'

/** Serves every network that no adapter is named for. */
export const ANY_NETWORK: '*' = '*'

/** What tells who made an attachment. */
export type Made = Pick<AttachmentRow, 'key' | 'madeBy'>

/**
 * Which adapter serves which network, and which one made an attachment. The two differ when the configuration has changed while a
 * pod runs: an attachment stays with the adapter that made it.
 */
export class Networks {
  readonly #byName: ReadonlyMap<string, CniAdapter>
  readonly #ids: ReadonlyMap<CniAdapter, string>
  readonly #forgotten: ReadonlySet<string>

  /**
   * Takes adapters by network name; `*` is the one for all other names.
   *
   * @param forgotten - networks whose attachments are given up without an adapter being asked
   */
  constructor(byName: ReadonlyMap<string, CniAdapter>, forgotten: readonly string[] = []) {
    this.#byName = byName
    // The first name of an adapter of several networks: that of the folder with its state.
    const ids = new Map<CniAdapter, string>()
    for (const [name, adapter] of byName) if (!ids.has(adapter)) ids.set(adapter, `${name}/${adapter.name}`)
    this.#ids = ids
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

  /** Name of an adapter that outlives the run: under which network it is configured, and what it is, as in `podnet/delegate`. */
  idOf(adapter: CniAdapter): string {
    const id = this.#ids.get(adapter)
    if (id === undefined) throw new OffloadError('INTERNAL', `adapter "${adapter.name}" is none of those configured`)
    return id
  }

  /** The adapter that made an attachment, or may have, where nobody knows; undefined if it is not configured any more. */
  makerOf({ key, madeBy }: Made): CniAdapter | undefined {
    if (madeBy === undefined) return this.find(key.network)
    return this.adapters.find((adapter) => this.#ids.get(adapter) === madeBy)
  }

  /** Whether an attachment can be ended, by its adapter or without. */
  canEnd(made: Made): boolean {
    return this.makerOf(made) !== undefined || this.#forgotten.has(made.key.network)
  }

  /**
   * The adapter that ends an attachment; undefined where it is to be forgotten without one.
   *
   * @throws OffloadError NOT_READY as {@link requireMaker}
   */
  ending(made: Made): CniAdapter | undefined {
    return this.#forgotten.has(made.key.network) ? this.makerOf(made) : this.requireMaker(made)
  }

  /**
   * The adapter that made an attachment.
   *
   * @throws OffloadError NOT_READY when it is not configured any more: no other one knows what the network holds for the attachment
   */
  requireMaker(made: Made): CniAdapter {
    const adapter = this.makerOf(made)
    if (adapter !== undefined) return adapter
    const by = made.madeBy === undefined ? '' : ` ${made.madeBy}`
    throw new OffloadError(
      'NOT_READY',
      `the adapter${by} that made attachment ${formatAttachmentKey(made.key)} is not configured any more, and no other one knows of it`,
      {
        hint: 'Configure it again for the same network until its pods are gone; or name the network in "forget", and free by hand what it holds.',
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
