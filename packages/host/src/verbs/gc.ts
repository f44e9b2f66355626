import { OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, Netconf } from '@cni-offload/sdk/cni'
import { del } from './del.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * GC: ends the attachments of this network that the runtime does not list. Without a list nothing is done.
 *
 * A list that makes networks on the host, and an IPAM plugin that gives addresses there, are told, too, if they know GC.
 *
 * Attachments that are just being made are left alone: the runtime cannot know them yet.
 *
 * @throws OffloadError JOURNAL_FAILURE, or what a plugin on the host says, after all were tried
 */
export async function gc(deps: VerbDeps, env: CniEnvironment, netconf: Netconf, ctx: VerbContext): Promise<void> {
  if (netconf.validAttachments === undefined) return
  // A container id cannot hold a "/".
  const valid = new Set(netconf.validAttachments.map(({ containerId, ifName }) => `${containerId}/${ifName}`))
  const { journal, fallback, ipam } = deps
  const held = [...journal.keysOf(netconf.name, ['wired']), ...fallback.keysOf(netconf.name), ...ipam.strays(netconf.name)]
  const stale = held.filter(({ containerId, ifName }) => !valid.has(`${containerId}/${ifName}`))
  const outcomes = await Promise.allSettled(stale.map((key) => del(deps, key, ctx)))
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [OffloadError.from(outcome.reason)] : []))
  const told = await Promise.allSettled([fallback.gc(netconf, ctx), ipam.gc(netconf, env, ctx)])
  ctx.log.info({ network: netconf.name, removed: stale.length - failures.length, failed: failures.length }, 'GC')
  const [first] = failures
  if (first !== undefined)
    throw new OffloadError(first.code, `${failures.length} of ${stale.length} attachments could not be removed: ${first.message}`, {
      cause: first,
    })
  for (const outcome of told) if (outcome.status === 'rejected') throw OffloadError.from(outcome.reason)
}
