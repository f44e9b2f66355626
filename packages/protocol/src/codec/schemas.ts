import {
  type AttachmentKey,
  type AttachResult,
  attachmentKeySchema,
  attachResult,
  macAddress,
  repairRecord,
  vfAdminSetting,
  type VfId,
} from '@cni-offload/sdk'
import { z } from 'zod'
import type { AgentBeat, HostBeat, AttachCall, AttachmentState, AttachReply, HandshakeCall, HandshakeReply, ResyncEvent } from '../api.ts'
import { readCode } from '../errors.ts'
import { MAX_JSON_LENGTH, MAX_LIST_LENGTH, MAX_TEXT_LENGTH } from '../limits.ts'

const text = z.string().max(MAX_TEXT_LENGTH)
const texts = z.array(text).max(MAX_LIST_LENGTH)
const version = z.number().int().min(1).max(1_000_000)

const limited = (schema: z.ZodType<Record<string, string>>): z.ZodType<Record<string, string>> =>
  schema.refine((map) => Object.keys(map).length <= MAX_LIST_LENGTH, `at most ${MAX_LIST_LENGTH} entries`)

/** JSON text of an object, decoded. Keys that would reach a prototype are dropped by `z.record`. */
const jsonObject: z.ZodType<Record<string, unknown>> = z
  .string()
  .max(MAX_JSON_LENGTH)
  .transform((json, ctx): unknown => {
    try {
      return JSON.parse(json) as unknown
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: `not JSON: ${error instanceof Error ? error.message : String(error)}` })
      return z.NEVER
    }
  })
  .pipe(z.record(z.string(), z.unknown(), 'a JSON object'))

/** Schema of {@link VfId}. */
const vfId: z.ZodType<VfId> = z.object({ device: text.min(1), index: z.number().int().min(0).max(0xffff_ffff) })

const key: z.ZodType<AttachmentKey> = attachmentKeySchema

const boundedDns = z.object({
  nameservers: texts.exactOptional(),
  domain: text.exactOptional(),
  search: texts.exactOptional(),
  options: texts.exactOptional(),
})

/** An {@link AttachResult} with the limits of the wire on top of its own. */
const result: z.ZodType<AttachResult> = z
  .object({ dns: boundedDns, sysctls: limited(z.record(text, text)) })
  .loose()
  .transform((value): unknown => value)
  .pipe(attachResult)

const hostIpam = z
  .object({ ips: z.unknown(), routes: z.unknown(), dns: boundedDns })
  .transform((ipam): unknown => ({ mac: '00:00:00:00:00:00', mtu: 1500, neighbours: [], sysctls: {}, ...ipam }))
  .pipe(attachResult)
  .transform(({ ips, routes, dns }) => ({ ips, routes, dns }))

/** Schema of a {@link HandshakeCall} from the wire. */
export const handshakeCall: z.ZodType<HandshakeCall> = z.object({
  protocol: z.object({ min: version, max: version }).refine(({ min, max }) => min <= max, 'min must not exceed max'),
  node: text.min(1),
  bootId: text,
  features: texts,
})

/** Schema of a {@link HandshakeReply} from the wire. */
export const handshakeReply: z.ZodType<HandshakeReply> = z.object({
  protocol: version,
  instanceId: text.min(1),
  networks: texts,
  features: texts,
  kept: z.array(z.object({ network: text.min(1), vfs: z.array(vfId).max(65_536) })).max(1024),
})

/** Schema of an {@link AttachCall} from the wire. */
export const attachCall: z.ZodType<AttachCall> = z.object({
  key,
  pod: z.object({ namespace: text, name: text, uid: text }),
  vf: vfId,
  vfMac: macAddress,
  netconf: jsonObject,
  prevResult: jsonObject.exactOptional(),
  runtimeConfig: jsonObject,
  cniArgs: limited(z.record(text, z.string().max(MAX_JSON_LENGTH))),
  hostIpam: hostIpam.exactOptional(),
  vlan: z.number().int().min(1).max(4094).exactOptional(),
  flags: z.object({ ipsec: z.boolean() }),
  hostEnforces: z.array(vfAdminSetting).exactOptional(),
  had: result.exactOptional(),
})

/** Schema of what the host sends during a resync: an {@link AttachCall}, or that there are no more. */
export const resyncMessage: z.ZodType<AttachCall | 'complete'> = z.unknown().transform((value, ctx): AttachCall | 'complete' => {
  if (value === 'complete') return value
  const parsed = attachCall.safeParse(value)
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) ctx.addIssue({ code: 'custom', path: issue.path, message: issue.message })
  return z.NEVER
})

/** Schema of an {@link AttachReply} from the wire. */
export const attachReply: z.ZodType<AttachReply> = z.object({ result, port: text })

/** What a detach names. */
export interface DetachCall {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF, when the host still knows it. */
  readonly vf?: VfId
}

/** Schema of a {@link DetachCall} from the wire. */
export const detachCall: z.ZodType<DetachCall> = z.object({ key, vf: vfId.exactOptional() })

/** What a check names. */
export interface CheckCall {
  /** Identity. */
  readonly key: AttachmentKey
  /** What attach answered. */
  readonly expected?: AttachResult
}

/** Schema of a {@link CheckCall} from the wire. */
export const checkCall: z.ZodType<CheckCall> = z.object({ key, expected: result.exactOptional() })

/** What a status question names. */
export interface StatusCall {
  /** Network name; absent for all. */
  readonly network?: string
}

/** Schema of a {@link StatusCall} from the wire. */
export const statusCall: z.ZodType<StatusCall> = z.object({ network: text.min(1).exactOptional() })

/** Schema of an {@link AttachmentState} from the wire. */
export const attachmentState: z.ZodType<AttachmentState> = z.object({
  key,
  vf: vfId,
  port: text,
  state: z.enum(['attaching', 'attached', 'detaching', 'unknown']),
  result: result.exactOptional(),
  request: attachCall.exactOptional(),
  repairs: z.array(repairRecord).max(MAX_LIST_LENGTH).exactOptional(),
})

/** Schema of a {@link HostBeat} from the wire. */
export const hostBeat: z.ZodType<HostBeat> = z.object({ stopping: z.boolean() })

/** Schema of an {@link AgentBeat} from the wire. */
export const agentBeat: z.ZodType<AgentBeat> = z.object({ restarting: z.boolean() })

/** Schema of a {@link ResyncEvent} from the wire. A code that only a newer agent knows is taken for what its status says. */
export const resyncEvent: z.ZodType<ResyncEvent> = z.object({
  key,
  action: z.enum(['kept', 'reattached', 'detached', 'failed', 'unknown']),
  result: result.exactOptional(),
  error: z
    .object({ code: z.string(), message: z.string().max(64 * 1024), status: z.number() })
    .transform(({ code, message, status }) => readCode(code, message, status))
    .exactOptional(),
})
