import { join } from 'node:path'
import type { NetnsPath } from '@cni-offload/linux'
import { parseWith } from '@cni-offload/sdk'
import type { Scope } from '@cni-offload/sdk/runtime'
import type { HostOptions } from '../options.ts'
import { ownerOf } from '../plugins/orphans.ts'
import type { Facts } from '../runtime/runtime.ts'
import { FALLBACK_DRAINER, FALLBACK_JOURNAL, FALLBACK_UNDO, FALLBACKS, LOCKS, METRICS, NET } from '../runtime/tokens.ts'
import { Drainer } from '../undo/drainer.ts'
import { fallbackConfig } from './config.ts'
import { FallbackUndo } from './fallback-undo.ts'
import { Fallbacks } from './fallbacks.ts'
import { FallbackMetrics } from './metrics.ts'
import { hostRunners } from './runners.ts'
import { SqliteFallbackJournal } from './sqlite-fallback-journal.ts'

/** What runs in the background for attachments on the host's network. */
export interface FallbackWork {
  /** Says that pods can be offloaded again. */
  agentIsBack(): void
  /** Ends, until the signal aborts, what could not be ended at once. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * Puts together what attachments on the host's network need. @param netns - the host's: where plugins run
 *
 * @throws OffloadError INVALID_CONFIG
 */
export function provideFallbacks(scope: Scope, options: HostOptions, facts: Facts, netns: NetnsPath): void {
  const { limits, clock, log, bootId, stateDir } = facts
  const config = options.fallback && parseWith(fallbackConfig, options.fallback, 'fallback', 'INVALID_CONFIG')
  scope.factory(FALLBACK_JOURNAL, () => new SqliteFallbackJournal(join(stateDir, 'fallback.db'), clock))
  const runners = hostRunners({ netns, timeoutMs: limits.addMs, owner: ownerOf(facts) }, config?.noCheck)
  const leftToQueue = (): void => scope.get(FALLBACK_DRAINER).wake()
  scope.factory(
    FALLBACK_UNDO,
    (from) => new FallbackUndo({ journal: from.get(FALLBACK_JOURNAL), config, runners, net: from.get(NET), bootId, limits, leftToQueue }),
  )
  scope.factory(FALLBACKS, (from) => {
    const journal = from.get(FALLBACK_JOURNAL)
    const observer = new FallbackMetrics(from.get(METRICS).registry, () => journal.counts())
    return new Fallbacks({ journal, config, runners, net: from.get(NET), bootId, limits, observer }, from.get(FALLBACK_UNDO))
  })
  scope.factory(FALLBACK_DRAINER, (from) => {
    const [journal, undo] = [from.get(FALLBACK_JOURNAL), from.get(FALLBACK_UNDO)]
    return new Drainer({
      journal: { queue: () => journal.ending().map((row) => ({ ...row, release: true })) },
      undo: { queued: (key, logger) => undo.retry(key, logger) },
      locks: from.get(LOCKS),
      connected: () => true,
      clock,
      log: log.child({ component: 'host.fallback' }),
    })
  })
}

/** Marks what plugins of an earlier run were doing for the background to undo. @throws OffloadError JOURNAL_FAILURE */
export function startFallbacks(scope: Scope, facts: Facts): FallbackWork {
  const log = facts.log.child({ component: 'host.fallback' })
  const [fallbacks, drainer] = [scope.get(FALLBACKS), scope.get(FALLBACK_DRAINER)]
  const undoing = fallbacks.recover()
  if (undoing > 0) log.warn({ undoing }, 'attachments on the host that a crash or a reboot left')
  return {
    run: (until) => drainer.run(until),
    agentIsBack() {
      const stay = fallbacks.all().filter(({ phase }) => phase === 'added').length
      if (stay > 0)
        log.info({ attachments: stay }, 'the agent is back: new pods are offloaded, those on the network of the host stay there')
    },
  }
}
