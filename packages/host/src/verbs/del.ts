import { type AttachmentKey, formatAttachmentKey } from '@cni-offload/sdk'
import type { Netconf } from '@cni-offload/sdk/cni'
import { hasHostIpam } from '../ipam/conf.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * DEL: ends an attachment. Idempotent, and success as soon as the daemon has taken it over for good: what cannot be done
 * now (agent unreachable, VF not found) keeps the VF quarantined and is done in the background.
 *
 * Only the wait for the attachment's lock heeds the caller's signal; an end that has begun goes on to its end.
 *
 * @param netconf - the runtime's; what was made is undone as the journal says, also without it
 * @throws OffloadError JOURNAL_FAILURE; CANCELLED or DEADLINE_EXCEEDED while an ADD of the same attachment is still being undone
 */
export async function del(deps: VerbDeps, key: AttachmentKey, ctx: VerbContext, netconf?: Netconf): Promise<void> {
  using _key = await deps.locks.acquire(formatAttachmentKey(key), ctx.signal)
  if (deps.fallback.get(key) !== undefined) await ctx.stages.time('fallback', () => deps.fallback.end(key, ctx.log))
  // An attachment that the journal does not know may be one that it has lost: only the agent can tell.
  if (deps.journal.rebuilding) await deps.agent.ready(ctx.signal)
  const row = deps.journal.get(key)
  if (row === undefined) {
    ctx.log.debug({}, 'DEL of an attachment that is not known (any more)')
    return await deps.ipam.end(key, ctx.log)
  }
  if (netconf !== undefined && hasHostIpam(row.intent)) deps.ipam.told(key, netconf)
  const left = await ctx.stages.time('undo', () => deps.undo.attachment(row, { release: true, detach: true }, ctx.log))
  if (left !== undefined) deps.leftToQueue()
}
