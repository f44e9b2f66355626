import { OWN_NETNS } from '@cni-offload/linux'
import { interfaceName, mtu } from '@cni-offload/sdk'
import { z } from 'zod'

/** Options of the adapter after parsing. */
export interface SriovOptions {
  /** Bridge on the DPU, made when it is missing. Networks that have the uplink in common have the bridge in common. `sriov0` by default. */
  readonly bridge: string
  /** Interface of the DPU that leads to the network, with all VLANs on it; without one, pods reach those of the same DPU only. */
  readonly uplink?: string | undefined
  /** MTU of bridge, ports and pods in bytes, 1280 or more. 1500 by default. */
  readonly mtu: number
  /** Whether a VLAN that the host's physical function sets is seen as a tag on the DPU's port, so that it may set it. False by default. */
  readonly hostVlan: boolean
  /** Folders of IPAM plugins. `/opt/cni/bin` and `/usr/lib/cni` by default. */
  readonly cniPath: readonly string[]
  /** Longest that an IPAM plugin may take, in milliseconds, 100–600000. 60000 by default. */
  readonly execTimeoutMs: number
  /** Network namespace of bridge, uplink and ports; the agent's own by default. */
  readonly netns: string
}

/** Options as they are written: what is left out has a default. */
export type SriovOptionsInput = { readonly [K in keyof SriovOptions]?: SriovOptions[K] | undefined }

const absolutePath = z.string().regex(/^\//, 'an absolute path')

/** Schema of the options. */
export const sriovOptions: z.ZodType<SriovOptions, SriovOptionsInput> = z
  .strictObject({
    bridge: interfaceName.default('sriov0'),
    uplink: interfaceName.optional(),
    // A port without IPv6's settings could not be kept from speaking it once the MTU grows.
    mtu: mtu.min(1280).default(1500),
    hostVlan: z.boolean().default(false),
    cniPath: z.array(absolutePath).min(1).default(['/opt/cni/bin', '/usr/lib/cni']),
    execTimeoutMs: z.number().int().min(100).max(600_000).default(60_000),
    netns: absolutePath.default(OWN_NETNS),
  })
  .refine(({ bridge, uplink }) => bridge !== uplink, { path: ['uplink'], message: 'another interface than the bridge' })
