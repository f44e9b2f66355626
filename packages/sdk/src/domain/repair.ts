import { z } from 'zod'
import { type AttachmentKey, attachmentKeySchema } from './attachment.ts'

/**
 * What a reconciler does about drift.
 *
 * - `reattach`: has the adapter connect an attachment again, on the DPU.
 * - `configure`: puts link state, addresses, routes and neighbours of a pod's interface right, and what the physical function of its VF
 *   enforces.
 * - `return`: puts a VF that lies at home back into its pod.
 * - `update`: takes over what the network on the DPU changed for a running pod: routes, MTU, neighbours.
 * - `reclaim`: brings a VF home that nobody has.
 * - `report`: nothing; somebody has to look.
 */
export type RepairAction = 'reattach' | 'configure' | 'return' | 'update' | 'reclaim' | 'report'

/** How it went. `reported` is the outcome of the action `report` and of no other. */
export type RepairOutcome = 'repaired' | 'failed' | 'reported'

/** One finding of a reconciler and what it did about it. */
export interface RepairRecord {
  /** When, milliseconds since the epoch. */
  readonly at: number
  /** What it is about: a formatted attachment key, `vf DEVICE/INDEX` or `adapter NAME`. */
  readonly subject: string
  /** The attachment, where it is about one. */
  readonly key?: AttachmentKey
  /** What was done. */
  readonly action: RepairAction
  /** What was not as it should be, as readable phrases; one or more. */
  readonly found: readonly string[]
  /** How it went. */
  readonly outcome: RepairOutcome
  /** Why it failed, and what to do. */
  readonly reason?: string
  /** How many times in a row something had to be done about the subject: more than one means that it keeps coming back. */
  readonly times: number
}

const text = z.string().max(4096)

/** Schema of {@link RepairRecord}. An action or outcome that only a newer program knows is taken for the least that it can be. */
export const repairRecord: z.ZodType<RepairRecord> = z.object({
  at: z.number().int().min(0),
  subject: text,
  key: attachmentKeySchema.exactOptional(),
  action: z.enum(['reattach', 'configure', 'return', 'update', 'reclaim', 'report']).catch('report'),
  found: z.array(text).max(1024),
  outcome: z.enum(['repaired', 'failed', 'reported']).catch('reported'),
  reason: text.exactOptional(),
  times: z.number().int().min(1),
})
