import { OffloadError } from '@cni-offload/sdk'
import type { Netconf } from '@cni-offload/sdk/cni'
import { del } from './del.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * GC: ends the attachments of this network that the runtime does not list. Without a list nothing is done.
 *
 * Attachments that are just being made are left alone: the runtime cannot know them yet.
 *
 * @throws OffloadError JOURNAL_FAILURE, after all were tried
 */
export async function gc(deps: VerbDeps, netconf: Netconf, ctx: VerbContext): Promise<void> {
  if (netconf.validAttachments === undefined) return
  // A container id cannot hold a "/".
  const valid = new Set(netconf.validAttachments.map(({ containerId, ifName }) => `${containerId}/${ifName}`))
  const stale = deps.journal.keysOf(netconf.name, ['wired']).filter(({ containerId, ifName }) => !valid.has(`${containerId}/${ifName}`))
  const outcomes = await Promise.allSettled(stale.map((key) => del(deps, key, ctx)))
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [OffloadError.from(outcome.reason)] : []))
  ctx.log.info({ network: netconf.name, removed: stale.length - failures.length, failed: failures.length }, 'GC')
  const [first] = failures
  if (first !== undefined)
    throw new OffloadError(first.code, `${failures.length} of ${stale.length} attachments could not be removed: ${first.message}`, {
      cause: first,
    })
}
