import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { resourceName } from './resource-name.ts'
import { indexRanges } from './selection.ts'

/** Folder that kubelet shares with its device plugins. */
export const DEFAULT_DEVICE_PLUGIN_DIR: string = '/var/lib/kubelet/device-plugins'

/** How long the agent may be away before VFs count as unhealthy, in milliseconds. */
export const DEFAULT_AGENT_GRACE_MS: number = 60_000

/**
 * What kubelet's choice of a device means.
 *
 * - `counted`: a number only. An ADD without deviceID leases any VF that does not belong to an `exact` resource. There can be one
 *   such resource, since the daemon could not tell pods of two apart.
 * - `exact`: the VF itself. It is leased only by an ADD whose deviceID names it.
 */
export type Allocation = 'counted' | 'exact'

/** Which VFs a resource has: those for which all of the given fields hold. */
export interface VfSelector {
  /** Names of devices (cards, PFs). */
  readonly devices?: readonly string[] | undefined
  /** Numbers of VFs on their device, such as `0-3,8`. */
  readonly vfs?: string | undefined
  /** NUMA nodes. A VF whose node is not known is on none. */
  readonly numaNodes?: readonly number[] | undefined
  /** PCI addresses. */
  readonly pciAddresses?: readonly string[] | undefined
}

/** A resource of the node, made of VFs. */
export interface DeviceResource {
  /** Name of the extended resource, `domain/name`. */
  readonly name: string
  /** What kubelet's choice means. @defaultValue counted */
  readonly allocation?: Allocation | undefined
  /** Its VFs, less those of the resources before it. @defaultValue all */
  readonly select?: VfSelector | undefined
}

/** What is advertised to kubelet. */
export interface DevicePluginConfig {
  /** The resources. A VF belongs to the first one that selects it. */
  readonly resources: readonly DeviceResource[]
  /** Folder of kubelet's socket. @defaultValue `/var/lib/kubelet/device-plugins` */
  readonly dir?: string | undefined
  /** How long the agent may be away before VFs count as unhealthy, in milliseconds, or `never`. @defaultValue 60 000 */
  readonly agentGraceMs?: number | 'never' | undefined
}

const texts = z.array(z.string().min(1)).min(1)

const selector: z.ZodType<VfSelector> = z.strictObject({
  devices: texts.optional(),
  vfs: z
    .string('numbers and ranges, such as "0-3,8"')
    .refine((text) => indexRanges(text) !== undefined, 'numbers and ranges, such as "0-3,8"')
    .optional(),
  numaNodes: z.array(z.number().int().min(0)).min(1).optional(),
  pciAddresses: z
    .array(z.string().regex(/^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/, 'a PCI address dddd:bb:dd.f in lower case'))
    .min(1)
    .optional(),
})

const resources: z.ZodType<readonly DeviceResource[]> = z
  .array(z.strictObject({ name: resourceName, allocation: z.enum(['counted', 'exact']).optional(), select: selector.optional() }))
  .min(1)
  .superRefine((list, ctx) => {
    const counted = list.findIndex(isCounted)
    for (const [index, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) < index)
        ctx.addIssue({ code: 'custom', path: [index, 'name'], message: 'is there twice' })
      if (isCounted(list[index]) && counted < index)
        ctx.addIssue({
          code: 'custom',
          path: [index, 'allocation'],
          message: `only one resource can be counted, and "${list[counted]?.name}" is: set allocation: exact`,
        })
    }
  })

/** Schema of {@link DevicePluginConfig}. */
export const devicePluginConfig: z.ZodType<DevicePluginConfig> = z.strictObject({
  resources,
  // A socket's path may have 107 bytes; 44 are left for the names of ours.
  dir: z
    .string('a path')
    .refine((path) => isAbsolute(path) && Buffer.byteLength(path) <= 55, 'an absolute path of at most 55 bytes')
    .optional(),
  agentGraceMs: z.union([z.number().int().min(0).max(86_400_000), z.literal('never')], 'milliseconds up to a day, or never').optional(),
})

/** Whether kubelet's choice of a device of the resource is a number only. */
export function isCounted(resource: DeviceResource | undefined): boolean {
  return resource !== undefined && resource.allocation !== 'exact'
}
