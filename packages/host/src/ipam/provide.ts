import { join } from 'node:path'
import type { NetnsPath } from '@cni-offload/linux'
import { parseWith } from '@cni-offload/sdk'
import type { Scope } from '@cni-offload/sdk/runtime'
import type { HostOptions, HostParts } from '../options.ts'
import { ownerOf } from '../plugins/orphans.ts'
import type { Facts } from '../runtime/runtime.ts'
import { IPAM, IPAM_DRAINER, IPAM_JOURNAL, IPAM_UNDO, JOURNAL, LOCKS, METRICS, NET } from '../runtime/tokens.ts'
import { Drainer } from '../undo/drainer.ts'
import { hostIpamOptions } from './config.ts'
import { HostIpam } from './host-ipam.ts'
import { IpamUndo } from './ipam-undo.ts'
import { registerIpamMetrics } from './metrics.ts'
import { ipamRunners } from './runners.ts'
import { SqliteIpamJournal } from './sqlite-ipam-journal.ts'

/**
 * Puts together what addresses of IPAM plugins on this host need. @param netns - the host's: where plugins run
 *
 * @throws OffloadError INVALID_CONFIG
 */
export function provideIpam(scope: Scope, options: HostOptions, parts: HostParts, facts: Facts, netns: NetnsPath): void {
  const { limits, clock, log, bootId, stateDir } = facts
  const config = parseWith(hostIpamOptions, options.ipam ?? {}, 'ipam', 'INVALID_CONFIG')
  const runners = parts.ipam ?? ipamRunners({ netns, timeoutMs: limits.addMs, owner: ownerOf(facts) })
  const leftToQueue = (): void => scope.get(IPAM_DRAINER).wake()
  scope.factory(IPAM_JOURNAL, () => new SqliteIpamJournal(join(stateDir, 'ipam.db'), clock))
  scope.factory(IPAM_UNDO, (from) => {
    const [journal, attachments, net] = [from.get(IPAM_JOURNAL), from.get(JOURNAL), from.get(NET)]
    return new IpamUndo({ journal, attachments, config, runners, net, bootId, limits, leftToQueue })
  })
  scope.factory(IPAM, (from) => {
    const [journal, attachments, undo] = [from.get(IPAM_JOURNAL), from.get(JOURNAL), from.get(IPAM_UNDO)]
    registerIpamMetrics(from.get(METRICS).registry, () => journal.counts())
    return new HostIpam({ journal, attachments, config, runners, undo, bootId, limits })
  })
  scope.factory(IPAM_DRAINER, (from) => {
    const [journal, undo] = [from.get(IPAM_JOURNAL), from.get(IPAM_UNDO)]
    return new Drainer({
      // What is not over waits in the other queue.
      journal: { queue: () => journal.ending().flatMap(({ seq, key }) => (undo.isOver(key) ? [{ seq, key, release: true }] : [])) },
      undo: { queued: async (key, logger) => (undo.isOver(key) ? await undo.retry(key, logger) : undefined) },
      locks: from.get(LOCKS),
      connected: () => true,
      clock,
      log: log.child({ component: 'host.ipam' }),
    })
  })
}

/** Marks what a crash or a reboot left for the background. @returns what works it off until the signal aborts */
export async function startIpam(scope: Scope, facts: Facts): Promise<(until: AbortSignal) => Promise<void>> {
  const undoing = await scope.get(IPAM).recover()
  if (undoing > 0) facts.log.warn({ component: 'host.ipam', undoing }, 'addresses of IPAM plugins that a crash or a reboot left')
  const drainer = scope.get(IPAM_DRAINER)
  return (until) => drainer.run(until)
}
