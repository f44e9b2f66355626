import { type AttachmentKey, OffloadError } from '@cni-offload/sdk'
import { Limiter } from '@cni-offload/sdk/runtime'
import { CiliumApiError } from '../api/api-error.ts'
import { type CiliumClient, DEFAULT_POOL, type PooledAddress } from '../api/client.ts'
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { DueDeletion } from '../state/attachment-store.ts'
import { reached } from '../steps.ts'
import type { AgentInfo, Family } from './agent-info.ts'
import type { Pools } from './pools.ts'

/** An address that is held for an endpoint to come. */
export interface HeldAddress extends PooledAddress {
  /** Names the timer that takes it back unless an endpoint claims it. */
  readonly expirationUuid?: string
}

/** Who knows which addresses are taken, whatever the agent thinks. */
export interface Holders {
  /** Whether any attachment, but for the one that is named, has an address, or has to get it back. */
  othersHave(ip: string, key?: AttachmentKey): boolean
  /** Whether addresses are being taken for an owner that {@link Holders.othersHave} does not know of yet. */
  taking(owner: string): boolean
}

/** Addresses that stay, because a running pod is about to get them back. */
export type Spared = readonly string[]

/** How many addresses of running pods are passed over before a pool is called used up. */
const MOST_PASSED = 64

/** How long giving back what was taken in vain may take, milliseconds. */
const PUT_BACK_MS = 10_000

/**
 * Takes addresses from the agent and gives them back, one matter at a time, so that an address which is on its way from one hand to
 * the other is never given to a third.
 */
export class AddressBook {
  readonly #client: CiliumClient
  readonly #store: Holders
  readonly #gate = new Limiter(1)

  /** Takes nothing yet. */
  constructor(client: CiliumClient, store: Holders) {
    this.#client = client
    this.#store = store
  }

  /**
   * Takes an address of each family that the agent has. One that a running pod has, because the agent has lost its endpoint, is
   * passed over and left for that pod.
   *
   * @param record - puts the addresses on record before anything else may happen to them
   * @throws OffloadError RESOURCE_EXHAUSTED; ADAPTER_FAILED when a family is missing
   */
  async allocate(
    key: AttachmentKey,
    owner: string,
    info: AgentInfo,
    caller: Caller,
    record: (held: readonly HeldAddress[]) => void,
  ): Promise<readonly HeldAddress[]> {
    return await this.#gate.run(caller.signal, async () => {
      const passed: HeldAddress[] = []
      try {
        while (passed.length < MOST_PASSED) {
          const held = await this.#take(owner, caller)
          if (caller.signal.aborted) {
            passed.push(...held)
            throw OffloadError.from(caller.signal.reason, 'CANCELLED', 'taking addresses')
          }
          if (held.some(({ ip }) => this.#store.othersHave(ip, key))) {
            passed.push(...held)
            continue
          }
          const missing = (Object.keys(info.routers) as Family[]).filter(
            (family) => !held.some(({ ip }) => ip.includes(':') === (family === 'ipv6')),
          )
          if (missing.length > 0) {
            passed.push(...held)
            throw new OffloadError('ADAPTER_FAILED', `cilium-agent has ${missing.join(' and ')} enabled, but gave no address of it`)
          }
          reached('cilium.attach.taken')
          record(held)
          return held
        }
        throw new OffloadError('RESOURCE_EXHAUSTED', 'all addresses that cilium-agent has left are those of running pods')
      } finally {
        await this.#putBack(passed, caller)
      }
    })
  }

  /**
   * Takes the addresses that a running pod has, of the pools that they are of; those that are held for it already are success.
   *
   * @param first - is done before, and nobody else takes or gives an address meanwhile; tells the pools
   * @throws OffloadError RESOURCE_EXHAUSTED that names an address which somebody else has; it is not a matter of time
   */
  async claim(ips: readonly string[], owner: string, caller: Caller, first: () => Promise<Pools>): Promise<readonly HeldAddress[]> {
    return await this.#gate.run(caller.signal, async () => {
      const pools = await first()
      const wanted = ips.map((ip) => ({ ip, pool: pools[ip] ?? DEFAULT_POOL }))
      for (const address of wanted) await this.#claimOne(address, owner, caller)
      return wanted
    })
  }

  /**
   * Gives addresses back that nobody else has. The agent takes stock every few seconds only: one that it does not list may have been
   * taken since.
   *
   * @param strays - whether also all go back that the agent holds for the owner and no attachment has: whoever took them was killed
   * before they were on record
   */
  async giveBack({ key, ips, pools, owner, made }: DueDeletion, strays: boolean, caller: Caller, spared: Spared = []): Promise<void> {
    if (ips.length === 0 && !strays) return
    await this.#gate.run(caller.signal, async () => {
      const holders = await this.#holders(caller)
      const theirs = (ip: string): boolean => belongsTo(holders.get(ip)?.owner, owner)
      const found = strays && !this.#store.taking(owner) ? [...holders.keys()].filter(theirs) : []
      for (const ip of new Set([...ips, ...found]))
        if (!spared.includes(ip) && !this.#store.othersHave(ip, made === true ? undefined : key) && (!holders.has(ip) || theirs(ip)))
          await this.#client.release({ ip, pool: holders.get(ip)?.pool ?? pools?.[ip] ?? DEFAULT_POOL }, caller).catch((error: unknown) => {
            // An endpoint has it by now: then it is no longer ours to give back.
            if (!(error instanceof CiliumApiError) || !error.text.startsWith('IP is in use by endpoint')) throw error
          })
    })
  }

  /** Whatever the caller's patience; what the agent does not take now expires. */
  async #putBack(held: readonly HeldAddress[], { log }: Caller): Promise<void> {
    const caller = { signal: AbortSignal.timeout(PUT_BACK_MS), log, patience: NO_PATIENCE }
    await Promise.all(
      held.map((address) =>
        this.#client.release(address, caller).catch((error: unknown) => log.warn({ ip: address.ip, error }, 'an address expires')),
      ),
    )
  }

  async #take(owner: string, caller: Caller): Promise<HeldAddress[]> {
    const { address, ipv4, ipv6 } = await this.#client.allocate(owner, caller)
    const held = [
      { taken: ipv4, pool: address['ipv4-pool-name'] },
      { taken: ipv6, pool: address['ipv6-pool-name'] },
    ]
    return held.flatMap(({ taken, pool }) => {
      if (taken === null || taken === undefined) return []
      const uuid = taken['expiration-uuid'] ?? ''
      return [{ ip: taken.ip, ...(uuid === '' ? {} : { expirationUuid: uuid }), ...((pool ?? '') === '' ? {} : { pool: pool ?? '' }) }]
    })
  }

  async #claimOne(address: PooledAddress, owner: string, caller: Caller): Promise<void> {
    const { ip } = address
    try {
      await this.#client.claim(address, owner, caller)
    } catch (error) {
      if (!(error instanceof CiliumApiError) || (error.status !== 409 && error.status !== 500)) throw error
      // An earlier attempt may have taken it for this very pod.
      const holder = (await this.#holders(caller)).get(ip)?.owner
      if (belongsTo(holder, owner)) return
      const why = holder === undefined ? error.text : `${holder} has it`
      throw new OffloadError('RESOURCE_EXHAUSTED', `the running pod has ${ip}, but cilium-agent does not give it: ${why}`, {
        cause: error,
        hint: 'Restart the pod: it then gets another address.',
      })
    }
  }

  /** Who holds which address of which pool. The agent writes a pool that is not the default one before the address. */
  async #holders(caller: Caller): Promise<ReadonlyMap<string, { readonly owner: string; readonly pool: string }>> {
    const { ipam } = await this.#client.health(caller, false)
    return new Map(
      Object.entries(ipam?.allocations ?? {}).map(([address, owner]) => {
        const slash = address.lastIndexOf('/')
        return [address.slice(slash + 1), { owner, pool: slash < 0 ? DEFAULT_POOL : address.slice(0, slash) }]
      }),
    )
  }
}

/** The agent adds a remark to the owner of what it has restored. */
function belongsTo(holder: string | undefined, owner: string): boolean {
  return owner !== '' && (holder === owner || holder?.startsWith(`${owner} [`) === true)
}
