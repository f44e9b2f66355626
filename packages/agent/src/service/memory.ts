import { type CniAdapter, formatAttachmentKey, formatVfId, type KnownAttachment, OffloadError, type OpContext } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { toCall, toRequest } from './adapter-request.ts'
import type { Networks } from './networks.ts'
import type { PortPlan } from './port-plan.ts'

/** Two memories of the same attachments: that of the agent, and those of its adapters. */
export interface MemoryDeps {
  /** The agent's. */
  readonly journal: Pick<AttachmentJournal, 'all' | 'get' | 'begin' | 'adopt' | 'sign'>
  /** Which adapter serves which network. */
  readonly networks: Networks
  /** Whose port is whose. */
  readonly ports: PortPlan
}

/** The attachments of an adapter by the journal. */
export function knownTo(adapter: CniAdapter, { journal, networks, ports }: MemoryDeps): KnownAttachment[] {
  return journal.all().flatMap((row) => {
    const { vf, port, state, request, result } = row
    if (state !== 'attached' || result === undefined || networks.makerOf(row) !== adapter) return []
    return [{ request: toRequest(request, ports.seenBy(adapter, { vf, name: port })), result }]
  })
}

/**
 * Notes who made the attachments that an older agent has written down: those that serve their networks now, as that one would have had it.
 * Later the configuration may be another one.
 */
export function sign({ journal, networks }: Pick<MemoryDeps, 'journal' | 'networks'>): void {
  for (const { key, madeBy } of journal.all()) {
    const adapter = networks.find(key.network)
    if (madeBy === undefined && adapter !== undefined) journal.sign(key, networks.idOf(adapter))
  }
}

/**
 * Takes over what an adapter remembers and the journal does not have: the journal could not be read, or a power cut has taken its
 * last transactions. What did not come to its end is noted as that, and the recovery ends it; what is nobody's any more the resync ends.
 *
 * @throws OffloadError JOURNAL_FAILURE
 */
export async function recall(adapter: CniAdapter, { journal, networks }: MemoryDeps, ctx: OpContext): Promise<void> {
  const madeBy = networks.idOf(adapter)
  for (const { request, result } of (await adapter.remembered?.(ctx)) ?? []) {
    if (journal.get(request.key) !== undefined) continue
    const fields = { key: formatAttachmentKey(request.key), vf: formatVfId(request.port.vf), pod: request.pod }
    try {
      if (result === undefined) journal.begin(toCall(request), request.port.name, madeBy)
      else journal.adopt(toCall(request), request.port.name, result, madeBy)
      ctx.log.warn({ ...fields, complete: result !== undefined }, 'attachment taken over from the adapter')
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'ALREADY_EXISTS') throw error
      ctx.log.warn({ ...fields, err: error }, 'an attachment of the adapter is not taken over: another one has its VF')
    }
  }
}
