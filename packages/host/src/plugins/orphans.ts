import { resolve } from 'node:path'
import { endOrphans } from '@cni-offload/sdk/exec'
import type { Facts } from '../runtime/runtime.ts'
import type { PluginJournal, PluginRequest } from './types.ts'

/** Whose plugins they are, the same after a restart. */
export function ownerOf({ stateDir }: Pick<Facts, 'stateDir'>): string {
  return resolve(stateDir)
}

/**
 * Ends plugins of an earlier run, before anything that they do is undone.
 *
 * @throws OffloadError JOURNAL_FAILURE; DEADLINE_EXCEEDED when they do not end; the signal's reason
 */
export async function endEarlierPlugins(
  journals: readonly Pick<PluginJournal<PluginRequest>, 'counts'>[],
  facts: Facts,
  signal: AbortSignal,
): Promise<void> {
  // Only then can plugins have been running when the daemon ended.
  const busy = journals.map((journal) => journal.counts()).some(({ adding, ending }) => adding + ending > 0)
  const log = facts.log.child({ component: 'host.plugins' })
  if (busy) await endOrphans(ownerOf(facts), { clock: facts.clock, log, signal })
}
