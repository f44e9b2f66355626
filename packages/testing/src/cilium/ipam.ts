import { randomUUID } from 'node:crypto'
import { isIP } from 'node:net'
import type { Clock } from '@cni-offload/sdk'
import type { NodeAddressing } from './api-model.ts'
import { ApiFailure } from './api-failure.ts'

/** Address family as the API names it. */
export type Family = 'ipv4' | 'ipv6'

/** Ranges of the pods; a family without one is disabled. */
export type PodRanges = { readonly [F in Family]?: string }

/** An address that was handed out. */
export interface Allocated {
  /** The address. */
  readonly ip: string
  /** Pool that it is of. */
  readonly pool: string
  /** Names the timer that takes it back unless an endpoint claims it. */
  readonly expirationUuid?: string
}

/** Pool of addresses where nothing is said of pools. */
export const DEFAULT_POOL = 'default'

/** After this many milliseconds an address that no endpoint has claimed is free again. */
export const IP_EXPIRATION_MS = 600_000

interface Holder {
  readonly owner: string
  readonly pool: string
  readonly expiration?: { readonly uuid: string; readonly timer: AbortController }
}

/** The agent's allocator of addresses. It forgets all of them when it ends, as the real one does. */
export class FakeIpam {
  readonly #clock: Clock
  readonly #ranges: PodRanges
  readonly #size: number
  readonly #pools: Readonly<Record<string, PodRanges>> | undefined
  readonly #held = new Map<string, Holder>()
  readonly #last = new Map<string, number>()

  /**
   * The first address of each range is the router's.
   *
   * @param ranges - of the default pool
   * @param size - how many addresses besides the first a range has at most
   * @param pools - ranges of the other pools; undefined where the agent's allocator knows no pools, and takes any name for the default one
   */
  constructor(clock: Clock, ranges: PodRanges, size: number = Number.POSITIVE_INFINITY, pools?: Readonly<Record<string, PodRanges>>) {
    this.#clock = clock
    this.#ranges = ranges
    this.#size = size
    this.#pools = pools
  }

  /** Who holds what. An address of another pool than the default one has the pool before it. */
  get allocations(): Record<string, string> {
    return Object.fromEntries([...this.#held].map(([ip, { owner, pool }]) => [pool === DEFAULT_POOL ? ip : `${pool}/${ip}`, owner]))
  }

  /** The router's address of each family, which is the pods' gateway. */
  get routers(): { readonly [F in Family]?: string } {
    return Object.fromEntries(this.#families().map((family) => [family, addressAt(this.#range(family), 1)]))
  }

  /** The ranges and router addresses as the API shows them. */
  get addressing(): NodeAddressing {
    return Object.fromEntries(
      this.#families().map((family) => {
        const cidr = this.#range(family)
        return [family, { 'alloc-range': cidr, enabled: true, ip: addressAt(cidr, 1) }]
      }),
    )
  }

  /**
   * Hands out an address of each enabled family, or of one; none of a family that is disabled.
   *
   * @param poolOf - which pool, where there are pools
   * @throws ApiFailure 502
   */
  allocateNext(
    wanted: string,
    owner: string,
    expires: boolean,
    poolOf: (family: Family) => string = () => DEFAULT_POOL,
  ): { readonly [F in Family]?: Allocated } {
    const families = this.#families().filter((family) => wanted === '' || wanted === family)
    const allocated: { [F in Family]?: Allocated } = {}
    try {
      for (const family of families.toReversed())
        allocated[family] = this.#next(family, owner, expires, this.#pools === undefined ? DEFAULT_POOL : poolOf(family))
    } catch (error) {
      for (const { ip } of Object.values(allocated)) this.free(ip)
      throw error
    }
    return allocated
  }

  /** Hands out one certain address, without an expiration. @throws ApiFailure 500 for whatever is wrong, as the real one */
  reserve(ip: string, owner: string, pool: string): void {
    const family = familyOf(ip)
    if (family === undefined) throw new ApiFailure(500, `Invalid IP address: ${ip}`)
    if (pool === '') throw new ApiFailure(500, `unable to restore IP ${ip} for ${JSON.stringify(owner)}: pool name must be provided`)
    this.#refuseDisabled(family)
    const cidr = this.#range(family, pool)
    if (cidr === undefined)
      throw new ApiFailure(500, `unable to reserve IP ${ip} from pool "${pool}" (family ${family}): pool not (yet) available`)
    if (!this.#contains(cidr, ip))
      throw new ApiFailure(
        500,
        this.#pools === undefined
          ? `provided IP is not in the valid range. The range of valid IPs is ${cidr}`
          : `IP ${ip} not in range of any CIDR`,
      )
    if (this.#held.has(ip) || Object.values(this.routers).includes(ip)) throw new ApiFailure(500, 'provided IP is already allocated')
    this.#held.set(ip, { owner, pool })
  }

  /** Takes an address back; one that nobody has in that pool is success. @throws ApiFailure 500 without a pool, or for a disabled family */
  release(ip: string, pool: string): void {
    const family = familyOf(ip)
    if (pool === '') throw new ApiFailure(500, `no IPAM pool provided for IP release of ${ip}`)
    if (family !== undefined) this.#refuseDisabled(family)
    if (this.#pools === undefined || this.#held.get(ip)?.pool === pool) this.free(ip)
  }

  /** Takes an address back without questions. */
  free(ip: string): void {
    this.#held.get(ip)?.expiration?.timer.abort(new Error('released'))
    this.#held.delete(ip)
  }

  /** An endpoint has claimed an address. @throws ApiFailure 500 when its time was up already */
  stopExpiration(ip: string, uuid: string): void {
    const holder = this.#held.get(ip)
    if (holder?.expiration === undefined) throw new ApiFailure(500, 'no expiration timer registered')
    if (holder.expiration.uuid !== uuid) throw new ApiFailure(500, 'UUID mismatch, not stopping expiration timer')
    holder.expiration.timer.abort(new Error('claimed'))
    this.#held.set(ip, { owner: holder.owner, pool: holder.pool })
  }

  /** Stops all timers. */
  [Symbol.dispose](): void {
    for (const ip of this.#held.keys()) this.free(ip)
  }

  #refuseDisabled(family: Family): void {
    if (this.#ranges[family] === undefined) throw new ApiFailure(500, `${family === 'ipv4' ? 'IPv4' : 'IPv6'} allocation disabled`)
  }

  #families(): Family[] {
    return (['ipv4', 'ipv6'] as const).filter((family) => this.#ranges[family] !== undefined)
  }

  #range(family: Family): string
  #range(family: Family, pool: string): string | undefined
  #range(family: Family, pool: string = DEFAULT_POOL): string | undefined {
    return this.#pools === undefined || pool === DEFAULT_POOL ? (this.#ranges[family] ?? '') : this.#pools[pool]?.[family]
  }

  /** Offset of the last address that a pod may have. */
  #lastOffset(cidr: string): number {
    return Math.min(lastOffset(cidr), this.#size + 1)
  }

  #contains(cidr: string, ip: string): boolean {
    const offset = offsetOf(cidr, ip)
    return offset >= 1 && offset <= this.#lastOffset(cidr)
  }

  /** Goes round, so that an address that was just given back is not given out at once. */
  #next(family: Family, owner: string, expires: boolean, pool: string): Allocated {
    const cidr = this.#range(family, pool)
    if (cidr === undefined) throw new ApiFailure(502, `unable to allocate from pool "${pool}" (family ${family}): pool not (yet) available`)
    const last = this.#lastOffset(cidr)
    const before = this.#last.get(cidr) ?? 1
    for (let step = 1; step < last; step += 1) {
      const offset = 2 + ((before - 1 + step - 1) % (last - 1))
      const ip = addressAt(cidr, offset)
      if (this.#held.has(ip)) continue
      this.#last.set(cidr, offset)
      const expiration = expires ? this.#expire(ip) : undefined
      this.#held.set(ip, { owner, pool, ...(expiration === undefined ? {} : { expiration }) })
      return { ip, pool, ...(expiration === undefined ? {} : { expirationUuid: expiration.uuid }) }
    }
    throw new ApiFailure(502, 'range is full')
  }

  #expire(ip: string): NonNullable<Holder['expiration']> {
    const [uuid, timer] = [randomUUID(), new AbortController()]
    void this.#clock.sleep(IP_EXPIRATION_MS, timer.signal).then(
      () => this.free(ip),
      () => {},
    )
    return { uuid, timer }
  }
}

/** Family of an address; undefined if it is none. */
export function familyOf(ip: string): Family | undefined {
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(ip)]
}

/** Pods of a fake need few addresses: of IPv6 ranges, the first 65,534. */
function lastOffset(cidr: string): number {
  const [network = '', length] = cidr.split('/')
  const bits = (network.includes(':') ? 128 : 32) - Number(length)
  return 2 ** Math.min(bits, 16) - 2
}

/** Where in a range an address is; NaN if it is not written as the range's addresses are. */
function offsetOf(cidr: string, ip: string): number {
  const network = cidr.split('/')[0] ?? ''
  if (network.includes(':')) return ip.startsWith(network) ? Number.parseInt(ip.slice(network.length), 16) : Number.NaN
  return valueOf(ip) - valueOf(network)
}

const valueOf = (ipv4: string): number => ipv4.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)

function addressAt(cidr: string, offset: number): string {
  const network = cidr.split('/')[0] ?? ''
  if (network.includes(':')) return `${network}${offset.toString(16)}`
  const value = valueOf(network) + offset
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}
