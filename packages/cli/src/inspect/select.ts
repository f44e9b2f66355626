import { type AttachmentKey, formatAttachmentKey, type RepairRecord } from '@cni-offload/sdk'
import type { Query } from './query.ts'
import type { NodeView } from './view.ts'

type DpuAttachment = Extract<NodeView['dpu'], { attachments: unknown }>['attachments'][number]

/** What is known of one attachment, on both sides. */
export interface Subject {
  /** Identity. */
  readonly key: AttachmentKey
  /** The attachment on the host, with a VF. */
  readonly attachment?: NodeView['attachments'][number]
  /** The attachment on the host, with the network of the host. */
  readonly fallback?: NodeView['fallbacks'][number]
  /** What is left to do for it. */
  readonly queued: NodeView['queue']
  /** Its VF, as the journal has it. */
  readonly lease?: NodeView['leases'][number]
  /** The attachment on the DPU. */
  readonly dpu?: DpuAttachment
  /** What the reconcilers did about it and its VF, oldest first. */
  readonly repairs: readonly (RepairRecord & { readonly side: 'host' | 'DPU' })[]
}

/** What answers a query. */
export interface Selection {
  /** Node. */
  readonly node: string
  /** State of its daemon. */
  readonly state: string
  /** What to know of the agent: undefined if it answered. */
  readonly agentTrouble: string | undefined
  /** Attachments, by key. */
  readonly subjects: readonly Subject[]
  /** Calls of the runtime that failed, oldest first. */
  readonly failures: NodeView['failures']
}

/** Picks out of a node what a query means. */
export function select(view: NodeView, query: Query): Selection {
  const held = 'attachments' in view.dpu ? view.dpu.attachments : []
  const wanted = new Map<string, AttachmentKey>()
  const podOf = new Map([...view.attachments, ...view.fallbacks].map(({ key, pod }) => [formatAttachmentKey(key), pod]))
  const known = [...view.attachments, ...view.fallbacks, ...view.queue, ...held, ...view.repairs]
  for (const { key } of known) {
    if (key === undefined) continue
    const id = formatAttachmentKey(key)
    const pod = podOf.get(id)
    if (query.matches({ key, ...(pod === undefined ? {} : { pod }) })) wanted.set(id, key)
  }
  return {
    node: view.node,
    state: view.state,
    agentTrouble: 'error' in view.dpu ? view.dpu.error : undefined,
    subjects: [...wanted].map(([id, key]) => subject(view, held, id, key)),
    failures: view.failures.filter(({ containerId, ifName, pod }) => query.matches({ key: { containerId, ifName }, pod })),
  }
}

function subject(view: NodeView, held: readonly DpuAttachment[], id: string, key: AttachmentKey): Subject {
  const same = (other: { readonly key?: AttachmentKey | undefined }): boolean =>
    other.key !== undefined && formatAttachmentKey(other.key) === id
  const attachment = view.attachments.find(same)
  const fallback = view.fallbacks.find(same)
  const lease = view.leases.find(same)
  const dpu = held.find(same)
  const vf = attachment?.vf ?? lease?.vf
  const onHost = view.repairs.filter((record) => same(record) || record.subject === `vf ${vf}`)
  const repairs = [
    ...onHost.map((record) => ({ ...record, side: 'host' as const })),
    ...(dpu?.repairs ?? []).map((record) => ({ ...record, side: 'DPU' as const })),
  ].toSorted((a, b) => a.at - b.at)
  return {
    key,
    queued: view.queue.filter(same),
    repairs,
    ...(attachment === undefined ? {} : { attachment }),
    ...(fallback === undefined ? {} : { fallback }),
    ...(lease === undefined ? {} : { lease }),
    ...(dpu === undefined ? {} : { dpu }),
  }
}
