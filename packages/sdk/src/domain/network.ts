import { z } from 'zod'
import { macAddress } from './mac-address.ts'
import { type VfAdminSettings, vfAdminSettings } from './vf-admin.ts'

/** A plain IPv4 or IPv6 address. */
export const ipAddress: z.ZodType<string, string> = z.union([z.ipv4(), z.ipv6()], 'an IPv4 or IPv6 address')

/** An address with prefix length. */
export const ipCidr: z.ZodType<string, string> = z.union(
  [z.cidrv4(), z.cidrv6()],
  'an address with prefix length such as 10.0.0.2/24 or fd00::2/64',
)

/** An MTU that Linux and the supported hardware can carry, in bytes. */
export const mtu: z.ZodNumber = z.number().int().min(68).max(65_535)

const uint32 = z.number().int().min(0).max(0xffff_ffff)

/** One address of the pod. */
export interface IpAssignment {
  /** Address with prefix length: `10.0.0.2/24`, `fd00::2/64`, `10.0.0.2/32`. */
  readonly address: string
  /** Default gateway of this address's family, if the network has one. */
  readonly gateway?: string
}

/** One route of the pod. Numbers left out take the kernel's default. */
export interface Route {
  /** Destination prefix; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly dst: string
  /** Next hop; absent for on-link destinations. */
  readonly gw?: string
  /** Route MTU in bytes. */
  readonly mtu?: number
  /** Advertised TCP MSS in bytes. */
  readonly advmss?: number
  /** Metric. */
  readonly priority?: number
  /** Routing table, 254 (main) by default. */
  readonly table?: number
  /** 0 global, 253 link, 254 host. */
  readonly scope?: number
}

/** One permanent neighbour entry of the pod. */
export interface Neighbour {
  /** Address of the neighbour. */
  readonly ip: string
  /** Its MAC address. */
  readonly mac: string
}

/** Resolver settings that the runtime may apply. */
export interface Dns {
  /** Name servers in order of preference. */
  readonly nameservers?: readonly string[]
  /** Local domain. */
  readonly domain?: string
  /** Search list. */
  readonly search?: readonly string[]
  /** Resolver options. */
  readonly options?: readonly string[]
}

/**
 * What the host must apply to the pod's interface: everything that the CNI decided. Many addresses of both families, any
 * prefix length, never an assumed /32.
 */
export interface AttachResult {
  /** MAC address of the pod's interface. */
  readonly mac: string
  /** MTU of the pod's interface in bytes. */
  readonly mtu: number
  /** Addresses, possibly none (layer 2 only). */
  readonly ips: readonly IpAssignment[]
  /** Routes, in the order in which they are to be added. */
  readonly routes: readonly Route[]
  /** Permanent neighbours. */
  readonly neighbours: readonly Neighbour[]
  /** Resolver settings. */
  readonly dns: Dns
  /**
   * Kernel settings of the pod's namespace, by dotted name: `net.ipv4.conf.eth0.arp_filter`; a dot in the name of an interface
   * is written as `/`: `net.ipv4.conf.eth0/100.arp_filter`.
   */
  readonly sysctls: Readonly<Record<string, string>>
  /**
   * What the host has the VF's physical function enforce before the pod's interface may speak, until the attachment ends. Only what the
   * request's `hostEnforces` names may be asked for.
   */
  readonly vf?: VfAdminSettings
}

const routeSchema = z.object({
  dst: ipCidr,
  gw: ipAddress.exactOptional(),
  mtu: uint32.exactOptional(),
  advmss: uint32.exactOptional(),
  priority: uint32.exactOptional(),
  table: uint32.exactOptional(),
  scope: z.number().int().min(0).max(255).exactOptional(),
})

/** Schema of {@link Route}. */
export const route: z.ZodType<Route, Route> = routeSchema

/** Schema of {@link Dns}. */
export const dns: z.ZodType<Dns, Dns> = z.object({
  nameservers: z.array(z.string()).exactOptional(),
  domain: z.string().exactOptional(),
  search: z.array(z.string()).exactOptional(),
  options: z.array(z.string()).exactOptional(),
})

const resultSchema = z.object({
  mac: macAddress,
  mtu,
  ips: z.array(z.object({ address: ipCidr, gateway: ipAddress.exactOptional() })).max(64),
  routes: z.array(routeSchema).max(1024),
  neighbours: z.array(z.object({ ip: ipAddress, mac: macAddress })).max(1024),
  dns,
  sysctls: z.record(z.string().regex(/^net(\.[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*)+$/, 'a dotted name below "net."'), z.string()),
  vf: vfAdminSettings.exactOptional(),
})

/** Schema of {@link AttachResult}: what comes from an adapter or over the wire is parsed with it. */
export const attachResult: z.ZodType<AttachResult> = resultSchema

/** Schema of what an IPAM on the host has assigned. */
export const hostIpam: z.ZodType<Pick<AttachResult, 'ips' | 'routes' | 'dns'>> = resultSchema.pick({ ips: true, routes: true, dns: true })
