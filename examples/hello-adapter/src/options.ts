import { OWN_NETNS } from '@cni-offload/linux'
import { interfaceName, mtu } from '@cni-offload/sdk'
import { z } from 'zod'
import { offsetOf, parseSubnet } from './subnet.ts'

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
  /** MTU of bridge, ports and pods in bytes, 1280 or more. 1500 by default. */
  readonly mtu: number
  /** One pool per family, at least one. `10.88.0.0/16` and `fd00:88::/64` by default. */
  readonly pools: { readonly ipv4?: PoolOptions; readonly ipv6?: PoolOptions }
  /** Network namespace of bridge and ports; the agent's own by default. */
  readonly netns: string
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

/** Options as they are written: what is left out has a default. */
export type HelloOptionsInput = { readonly [K in keyof HelloOptions]?: HelloOptions[K] | undefined }

/** Schema of the options; an empty object is a working dual-stack network. */
export const helloOptions: z.ZodType<HelloOptions, HelloOptionsInput> = z.strictObject({
  bridge: interfaceName.default('hello0'),
  mtu: mtu.min(1280).default(1500),
  pools: z
    .strictObject({ ipv4: pool(z.cidrv4(), z.ipv4()).exactOptional(), ipv6: pool(z.cidrv6(), z.ipv6()).exactOptional() })
    .refine(({ ipv4, ipv6 }) => ipv4 !== undefined || ipv6 !== undefined, 'a pool of at least one family')
    .default({ ipv4: { subnet: '10.88.0.0/16' }, ipv6: { subnet: 'fd00:88::/64' } }),
  netns: z.string().min(1).default(OWN_NETNS),
})
