import { type AttachmentKey, attachmentKeySchema, type RepairRecord, repairRecord } from '@cni-offload/sdk'
import { z } from 'zod'

/** Whose it is. */
export interface PodView {
  /** Kubernetes namespace, empty where the runtime is not Kubernetes. */
  readonly namespace: string
  /** Pod name, likewise. */
  readonly name: string
  /** Pod UID, likewise. */
  readonly uid: string
}

/** What a host daemon tells of its node, as far as a page about a pod needs it. */
export interface NodeView {
  /** Name of the node. */
  readonly node: string
  /** State of the daemon. */
  readonly state: string
  /** The way to the agent. */
  readonly agent: { readonly address: string; readonly connected: boolean }
  /** Attachments with a VF. */
  readonly attachments: readonly {
    readonly key: AttachmentKey
    readonly vf: string
    readonly phase: string
    readonly netns: string
    readonly pod: PodView
    readonly pciAddress?: string | undefined
    readonly mac?: string | undefined
    readonly mtu?: number | undefined
    readonly ips: readonly string[]
    readonly createdAt: string
  }[]
  /** Attachments with the network of the host. */
  readonly fallbacks: readonly {
    readonly key: AttachmentKey
    readonly phase: string
    readonly reason: string
    readonly list: string
    readonly netns: string
    readonly pod: PodView
    readonly ips: readonly string[]
    readonly failure?: string | undefined
    readonly createdAt: string
  }[]
  /** VFs. */
  readonly leases: readonly {
    readonly vf: string
    readonly state: string
    readonly health: string
    readonly key?: AttachmentKey | undefined
  }[]
  /** What is left to do for attachments that are over. */
  readonly queue: readonly {
    readonly key: AttachmentKey
    readonly vf: string
    readonly release: boolean
    readonly detach: boolean
    readonly reason: string
  }[]
  /** What the host's reconciler did. */
  readonly repairs: readonly RepairRecord[]
  /** CNI calls that failed. */
  readonly failures: readonly {
    readonly at: number
    readonly verb: string
    readonly containerId: string
    readonly ifName: string
    readonly pod: PodView
    readonly code: string
    readonly message: string
    readonly hint?: string | undefined
  }[]
  /** The agent's side. */
  readonly dpu:
    | { readonly error: string }
    | {
        readonly attachments: readonly {
          readonly key: AttachmentKey
          readonly vf: string
          readonly port: string
          readonly state: string
          readonly repairs: readonly RepairRecord[]
        }[]
      }
}

const text = z.string()
const pod = z.object({ namespace: text, name: text, uid: text })
const repairs = z.array(repairRecord).default([])

/** Schema of {@link NodeView}; daemons of before told less. */
export const nodeView: z.ZodType<NodeView> = z.object({
  node: text,
  state: text,
  agent: z.object({ address: text, connected: z.boolean() }),
  attachments: z.array(
    z.object({
      key: attachmentKeySchema,
      vf: text,
      phase: text,
      netns: text,
      pod,
      pciAddress: text.optional(),
      mac: text.optional(),
      mtu: z.number().optional(),
      ips: z.array(text),
      createdAt: text,
    }),
  ),
  fallbacks: z
    .array(
      z.object({
        key: attachmentKeySchema,
        phase: text,
        reason: text,
        list: text,
        netns: text,
        pod,
        ips: z.array(text),
        failure: text.optional(),
        createdAt: text,
      }),
    )
    .default([]),
  leases: z.array(z.object({ vf: text, state: text, health: text, key: attachmentKeySchema.optional() })),
  queue: z.array(z.object({ key: attachmentKeySchema, vf: text, release: z.boolean(), detach: z.boolean(), reason: text })),
  repairs,
  failures: z
    .array(z.object({ at: z.number(), verb: text, containerId: text, ifName: text, pod, code: text, message: text, hint: text.optional() }))
    .default([]),
  dpu: z
    .union([
      z.object({ error: text }),
      z.object({ attachments: z.array(z.object({ key: attachmentKeySchema, vf: text, port: text, state: text, repairs })) }),
    ])
    .default({ error: 'the host daemon does not ask the agent: it is of an earlier release' }),
})
