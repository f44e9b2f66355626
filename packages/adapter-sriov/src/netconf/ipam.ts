import { type Dns, dns, ipAddress, ipCidr, type Route, route } from '@cni-offload/sdk'
import { contains, offsetOf, overlap, parseSubnet } from '@cni-offload/sdk/pool'
import { z } from 'zod'

/** Addresses of one prefix that pods may get. */
export interface PoolRange {
  /** Prefix. */
  readonly subnet: string
  /** First address for pods; the first one of the prefix unless given. */
  readonly rangeStart?: string
  /** Last address for pods; the last one of the prefix unless given. */
  readonly rangeEnd?: string
  /** Gateway, which no pod gets; none unless given. */
  readonly gateway?: string
}

/** IPAM by the adapter itself. */
export interface PoolConf {
  /** Says that it is this one. */
  readonly type: 'pool'
  /** A pod gets one address of each. */
  readonly ranges: readonly PoolRange[]
  /** Routes of the pod; those without gateway lead to that of their family. */
  readonly routes: readonly Route[]
  /** Resolver settings. */
  readonly dns: Dns
}

/** What an IPAM is asked for: none, the adapter's own, or a plugin. */
export type IpamConf = { readonly type: 'none' } | PoolConf | { readonly type: 'plugin'; readonly plugin: string }

const range = z
  .strictObject({
    subnet: ipCidr,
    rangeStart: ipAddress.exactOptional(),
    rangeEnd: ipAddress.exactOptional(),
    gateway: ipAddress.exactOptional(),
  })
  .superRefine((given, ctx) => {
    const subnet = parseSubnet(given.subnet)
    const refuse = (field: string, message: string): void => ctx.addIssue({ code: 'custom', path: [field], message })
    if (subnet.last < 1) return refuse('subnet', 'a prefix with room for hosts')
    for (const field of ['rangeStart', 'rangeEnd', 'gateway'] as const) {
      const address = given[field]
      if (address !== undefined && !contains(subnet, address)) refuse(field, `a host address of ${given.subnet}`)
    }
    const [start, end] = [given.rangeStart, given.rangeEnd]
    if (start !== undefined && end !== undefined && contains(subnet, start) && offsetOf(subnet, start) > offsetOf(subnet, end))
      refuse('rangeEnd', `an address not before rangeStart, which is ${start}`)
  }) satisfies z.ZodType<PoolRange>

const own = z
  .strictObject({
    type: z.literal('pool'),
    ranges: z
      .array(range)
      .min(1, 'one range or more: without addresses leave ipam out')
      .max(16)
      .refine(
        (list) => list.every((one, i) => list.every((other, j) => i === j || !overlap(one.subnet, other.subnet))),
        'prefixes that do not overlap',
      ),
    routes: z.array(route).default([]),
    dns: dns.default({}),
  })
  .transform((conf): PoolConf => conf)

const plugin = z
  .looseObject({ type: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'the file name of a plugin') })
  .transform(({ type }): IpamConf => ({ type: 'plugin', plugin: type }))

const nothing: IpamConf = { type: 'none' }

/** Schema of `ipam`; absent, empty or without a type it is none. */
export const ipamConf: z.ZodType<IpamConf> = z
  .looseObject({ type: z.string().nullish() })
  .nullish()
  .transform((conf, ctx): IpamConf => {
    if (conf === undefined || conf === null || conf.type === undefined || conf.type === null || conf.type === '') return nothing
    const parsed = (conf.type === 'pool' ? own : plugin).safeParse(conf)
    if (parsed.success) return parsed.data
    for (const { path, message } of parsed.error.issues) ctx.addIssue({ code: 'custom', path: [...path], message, input: conf })
    return z.NEVER
  })
