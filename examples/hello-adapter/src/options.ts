import { OWN_NETNS } from '@cni-offload/linux'
import { type Dns, dns, interfaceName, mtu, type Route, route } from '@cni-offload/sdk'
import { offsetOf, overlap, parseSubnet } from '@cni-offload/sdk/pool'
import { z } from 'zod'

/** A pool of addresses. */
export interface PoolOptions {
  /** Prefix that addresses are taken from, with room for at least a gateway and a pod. */
  readonly subnet: string
  /** Address of the bridge; the subnet's first host address unless given. */
  readonly gateway?: string
  /** How many addresses pods may get, 1 or more; as many as the subnet has unless given. */
  readonly size?: number
}

/** Options of the adapter after parsing. */
export interface HelloOptions {
  /** Bridge on the DPU, made when it is missing. `hello0` by default. */
  readonly bridge: string
  /** MTU of bridge, ports and pods in bytes, 68 or more, with IPv6 1280 or more. 1500 by default. */
  readonly mtu: number
  /**
   * Where pods get addresses from: one of every pool, IPv4 first. `10.88.0.0/16` and `fd00:88::/64` by default. Without any
   * pool the network is a plain Ethernet.
   */
  readonly pools: readonly PoolOptions[]
  /** Routes of the pods; a default route through the first gateway of each family unless given. */
  readonly routes?: readonly Route[] | undefined
  /** Resolver settings of the pods; none by default. */
  readonly dns: Dns
  /** Network namespace of bridge and ports; the agent's own by default. */
  readonly netns: string
}

/** Options as they are written: what is left out has a default. */
export type HelloOptionsInput = { readonly [K in keyof Omit<HelloOptions, 'pools'>]?: HelloOptions[K] | undefined } & {
  /** One pool or several per family. */
  readonly pools?:
    | { readonly ipv4?: PoolOptions | readonly PoolOptions[] | undefined; readonly ipv6?: PoolOptions | readonly PoolOptions[] | undefined }
    | undefined
}

const pool = (subnet: z.ZodType<string, string>, gateway: z.ZodType<string, string>): z.ZodType<PoolOptions, PoolOptions> =>
  z
    .strictObject({ subnet, gateway: gateway.exactOptional(), size: z.number().int().min(1).exactOptional() })
    .refine(({ subnet }) => parseSubnet(subnet).last >= 2, { path: ['subnet'], message: 'a prefix with room for a gateway and a pod' })
    .refine((given) => given.gateway === undefined || isHost(given.subnet, given.gateway), {
      path: ['gateway'],
      message: 'a host address of the subnet',
    })

function isHost(cidr: string, address: string): boolean {
  const subnet = parseSubnet(cidr)
  const offset = offsetOf(subnet, address)
  return offset >= subnet.first && offset <= subnet.last
}

/** One pool or a list of them, as a list. */
const some = (one: z.ZodType<PoolOptions, PoolOptions>): z.ZodType<PoolOptions[], PoolOptions | readonly PoolOptions[] | undefined> =>
  z
    .custom<PoolOptions | readonly PoolOptions[]>()
    .optional()
    .transform((given) => [given ?? []].flat())
    .pipe(z.array(one))

const pools = z
  .strictObject({ ipv4: some(pool(z.cidrv4(), z.ipv4())), ipv6: some(pool(z.cidrv6(), z.ipv6())) })
  .transform(({ ipv4, ipv6 }) => [...ipv4, ...ipv6])
  .refine(
    (list) => list.every((one, i) => list.every((other, j) => i === j || !overlap(one.subnet, other.subnet))),
    'subnets that do not overlap',
  )

/** Schema of the options; an empty object is a working dual-stack network. */
export const helloOptions: z.ZodType<HelloOptions, HelloOptionsInput> = z
  .strictObject({
    bridge: interfaceName.default('hello0'),
    mtu: mtu.default(1500),
    pools: pools.prefault({ ipv4: { subnet: '10.88.0.0/16' }, ipv6: { subnet: 'fd00:88::/64' } }),
    routes: z.array(route).optional(),
    dns: dns.default({}),
    netns: z.string().min(1).default(OWN_NETNS),
  })
  .refine((given) => given.mtu >= 1280 || given.pools.every(({ subnet }) => !subnet.includes(':')), {
    path: ['mtu'],
    message: '1280 or more, which IPv6 needs',
  })
