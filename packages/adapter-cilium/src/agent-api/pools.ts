import { DEFAULT_POOL, type PooledAddress } from '../api/client.ts'
import type { CiliumEndpoint } from '../api/schemas.ts'

/** Pools that addresses are of, by address without prefix length. Those of the default pool are left out. */
export type Pools = Readonly<Record<string, string>>

/** Pools of addresses. */
export function poolsOf(addresses: readonly PooledAddress[]): Pools {
  return Object.fromEntries(addresses.flatMap(({ ip, pool = '' }) => (['', DEFAULT_POOL].includes(pool) ? [] : [[ip, pool] as const])))
}

/** Pools of an endpoint's addresses, which every release tells; none without an endpoint. */
export function poolsOfEndpoint(endpoint: CiliumEndpoint | undefined): Pools {
  const pairs = endpoint?.status.networking?.addressing ?? []
  return poolsOf(
    pairs.flatMap(({ ipv4, ipv6, 'ipv4-pool-name': pool4, 'ipv6-pool-name': pool6 }) => [
      { ip: ipv4 ?? '', pool: pool4 ?? '' },
      { ip: ipv6 ?? '', pool: pool6 ?? '' },
    ]),
  )
}

/** As a member of a row; rows without one are of the default pool. */
export function withPools(pools: Pools | undefined): { readonly pools?: Pools } {
  return pools === undefined || Object.keys(pools).length === 0 ? {} : { pools }
}
