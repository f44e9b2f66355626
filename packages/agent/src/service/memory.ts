import { type CniAdapter, formatAttachmentKey, formatVfId, type KnownAttachment, OffloadError, type OpContext } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { toCall, toRequest } from './adapter-request.ts'
import type { Networks } from './networks.ts'
import type { PortPlan } from './port-plan.ts'

/** Two memories of the same attachments: that of the agent, and those of its adapters. */
export interface MemoryDeps {
  /** The agent's. */
  readonly journal: Pick<AttachmentJournal, 'all' | 'get' | 'begin' | 'adopt'>
  /** Which adapter serves which network. */
  readonly networks: Networks
  /** Whose port is whose. */
  readonly ports: PortPlan
}

/** The attachments of an adapter's networks by the journal. */
export function knownTo(adapter: CniAdapter, { journal, networks, ports }: MemoryDeps): KnownAttachment[] {
  return journal.all().flatMap(({ key, vf, port, state, request, result }) => {
    if (state !== 'attached' || result === undefined || networks.find(key.network) !== adapter) return []
    return [{ request: toRequest(request, ports.seenBy(adapter, { vf, name: port })), result }]
  })
}

/**
 * Takes over what an adapter remembers and the journal does not have: the journal could not be read, or a power cut has taken its
 * last transactions. What did not come to its end is noted as that, and the recovery ends it; what is nobody's any more the resync ends.
 *
 * @throws OffloadError JOURNAL_FAILURE
 */
export async function recall(adapter: CniAdapter, { journal, networks }: MemoryDeps, ctx: OpContext): Promise<void> {
  for (const { request, result } of (await adapter.remembered?.(ctx)) ?? []) {
    if (networks.find(request.key.network) !== adapter || journal.get(request.key) !== undefined) continue
    const fields = { key: formatAttachmentKey(request.key), vf: formatVfId(request.port.vf), pod: request.pod }
    try {
      if (result === undefined) journal.begin(toCall(request), request.port.name)
      else journal.adopt(toCall(request), request.port.name, result)
      ctx.log.warn({ ...fields, complete: result !== undefined }, 'attachment taken over from the adapter')
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'ALREADY_EXISTS') throw error
      ctx.log.warn({ ...fields, err: error }, 'an attachment of the adapter is not taken over: another one has its VF')
    }
  }
}
