import { type CniAdapter, formatVfId, OffloadError, type PortRef, type VfId } from '@cni-offload/sdk'
import type { KeptVfs } from '@cni-offload/protocol'
import type { Networks } from './networks.ts'

/** Ports of the VFs of one device, from the first to the last index. */
export interface PortRange {
  /** Device of the VFs. */
  readonly device: string
  /** Lowest index, from 0. */
  readonly first: number
  /** Highest index. */
  readonly last: number
}

/** Ports that networks keep for themselves, by network name. */
export type KeptPorts = Readonly<Record<string, readonly PortRange[]>>

/**
 * Whose port is whose. A network that keeps ports has those and no others; all networks without share the rest. A port is an
 * adapter's own where no network of another adapter may use it.
 */
export class PortPlan {
  readonly #networks: Networks
  /** VFs that networks keep, by the VF's text. */
  readonly #keepers: ReadonlyMap<string, Keeper>
  /** Networks that keep any. */
  readonly #keeping: ReadonlySet<string>

  /**
   * @param ports - all ports of the hardware
   * @throws OffloadError INVALID_CONFIG when a range holds no port, two networks keep the same one, or a network is not served
   */
  constructor(networks: Networks, kept: KeptPorts, ports: readonly PortRef[]) {
    this.#networks = networks
    this.#keepers = keepersOf(networks, kept, ports)
    this.#keeping = new Set([...this.#keepers.values()].map(({ network }) => network))
  }

  /** What each network keeps, for the host: it leases VFs accordingly. */
  get kept(): readonly KeptVfs[] {
    const byNetwork = Map.groupBy(this.#keepers.values(), ({ network }) => network)
    return [...byNetwork].map(([network, keepers]) => ({ network, vfs: keepers.map(({ vf }) => vf) }))
  }

  /** A port as an adapter is to see it: whether other adapters may attach it, too. */
  seenBy(adapter: CniAdapter, port: PortRef): PortRef {
    return this.#isOwn(adapter, port.vf) ? port : { ...port, shared: true }
  }

  /** @throws OffloadError INVALID_NETCONF when the network must not use the VF */
  assertAllowed(network: string, vf: VfId): void {
    const keeper = this.#keepers.get(formatVfId(vf))?.network
    const name = this.#networks.nameFor(network)
    if (keeper === name || (keeper === undefined && (name === undefined || !this.#keeping.has(name)))) return
    throw new OffloadError(
      'INVALID_NETCONF',
      `network "${network}" must not use VF ${formatVfId(vf)}: ${keeper === undefined ? 'it has ports of its own' : `network "${keeper}" keeps it`}`,
      { hint: 'Compare "deviceID", if one was given, with the ports of the adapters in the agent’s configuration.' },
    )
  }

  #isOwn(adapter: CniAdapter, vf: VfId): boolean {
    const keeper = this.#keepers.get(formatVfId(vf))?.network
    const users = keeper === undefined ? this.#networks.names.filter((name) => !this.#keeping.has(name)) : [keeper]
    return users.length > 0 && users.every((name) => this.#networks.find(name) === adapter)
  }
}

interface Keeper {
  readonly network: string
  readonly vf: VfId
}

function keepersOf(networks: Networks, kept: KeptPorts, ports: readonly PortRef[]): Map<string, Keeper> {
  const keepers = new Map<string, Keeper>()
  for (const [network, ranges] of Object.entries(kept)) {
    if (!networks.names.includes(network))
      throw new OffloadError('INVALID_CONFIG', `ports of network "${network}": no adapter serves a network of that name`)
    for (const { device, first, last } of ranges) {
      const own = ports.filter(({ vf }) => vf.device === device && vf.index >= first && vf.index <= last)
      if (own.length === 0)
        throw new OffloadError('INVALID_CONFIG', `ports of network "${network}": the hardware has none of ${device}/${first}-${last}`, {
          hint: `It has ${ports.map(({ vf }) => formatVfId(vf)).join(', ') || 'no ports at all'}.`,
        })
      for (const { vf } of own) {
        const other = keepers.get(formatVfId(vf))?.network
        if (other !== undefined && other !== network)
          throw new OffloadError('INVALID_CONFIG', `ports of networks "${other}" and "${network}": both keep VF ${formatVfId(vf)}`)
        keepers.set(formatVfId(vf), { network, vf })
      }
    }
  }
  return keepers
}
