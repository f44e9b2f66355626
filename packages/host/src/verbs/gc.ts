import { OffloadError } from '@cni-offload/sdk'
import type { Netconf } from '@cni-offload/sdk/cni'
import { del } from './del.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * GC: ends the attachments of this network that the runtime does not list. Without a list nothing is done.
 *
 * A list that makes networks on the host is told, too, if it knows GC.
 *
 * Attachments that are just being made are left alone: the runtime cannot know them yet.
 *
 * @throws OffloadError JOURNAL_FAILURE, or what a plugin of the host's list says, after all were tried
 */
export async function gc(deps: VerbDeps, netconf: Netconf, ctx: VerbContext): Promise<void> {
  if (netconf.validAttachments === undefined) return
  // A container id cannot hold a "/".
  const valid = new Set(netconf.validAttachments.map(({ containerId, ifName }) => `${containerId}/${ifName}`))
  const held = [...deps.journal.keysOf(netconf.name, ['wired']), ...deps.fallback.keysOf(netconf.name)]
  const stale = held.filter(({ containerId, ifName }) => !valid.has(`${containerId}/${ifName}`))
  const outcomes = await Promise.allSettled(stale.map((key) => del(deps, key, ctx)))
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [OffloadError.from(outcome.reason)] : []))
  const forwarded = await deps.fallback.gc(netconf, ctx).then(
    () => [],
    (error: unknown) => [OffloadError.from(error)],
  )
  ctx.log.info({ network: netconf.name, removed: stale.length - failures.length, failed: failures.length }, 'GC')
  if (failures.length === 0 && forwarded[0] !== undefined) throw forwarded[0]
  const [first] = failures
  if (first !== undefined)
    throw new OffloadError(first.code, `${failures.length} of ${stale.length} attachments could not be removed: ${first.message}`, {
      cause: first,
    })
}
