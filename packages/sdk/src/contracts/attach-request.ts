import { z } from 'zod'
import { attachmentKeySchema, interfaceName } from '../domain/attachment.ts'
import { macAddress } from '../domain/mac-address.ts'
import { hostIpam } from '../domain/network.ts'
import { vfAdminSetting } from '../domain/vf-admin.ts'
import type { AttachRequest } from './adapter.ts'

const json = z.record(z.string(), z.unknown())

/** Schema of {@link AttachRequest}, for adapters that keep it. What only one call was about is left out. */
export const attachRequest: z.ZodType<AttachRequest> = z.object({
  key: attachmentKeySchema,
  pod: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  port: z.object({
    vf: z.object({ device: z.string(), index: z.number().int().min(0) }),
    name: interfaceName,
    shared: z.boolean().exactOptional(),
  }),
  vfMac: macAddress,
  netconf: json,
  prevResult: json.exactOptional(),
  runtimeConfig: json,
  cniArgs: z.record(z.string(), z.string()),
  hostIpam: hostIpam.exactOptional(),
  vlan: z.number().int().min(1).max(4094).exactOptional(),
  flags: z.object({ ipsec: z.boolean() }),
  hostEnforces: z.array(vfAdminSetting).exactOptional(),
})
