import { systemClock } from '@cni-offload/sdk'
import { pluginList } from '@cni-offload/sdk/exec'
import { FallbackUndo, type FallbackUndoDeps } from '../../src/fallback/fallback-undo.ts'
import { Fallbacks, type FallbacksDeps } from '../../src/fallback/fallbacks.ts'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import type { FallbackRequest } from '../../src/fallback/types.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'

/** Fallbacks over their undo. */
export function fallbacksOf(deps: FallbacksDeps & FallbackUndoDeps): { fallbacks: Fallbacks; undo: FallbackUndo } {
  const undo = new FallbackUndo(deps)
  return { fallbacks: new Fallbacks(deps, undo), undo }
}

/** Fallbacks of a daemon that has none configured. */
export function noFallbacks(): Fallbacks {
  return fallbacksOf({
    journal: new SqliteFallbackJournal(':memory:', systemClock),
    runners: () => {
      throw new Error('no list is to be run')
    },
    net: { netnsIdentity: async () => undefined, link: async () => undefined },
    bootId: 'boot-1',
    limits: DEFAULT_LIMITS,
    observer: { added: () => {} },
    leftToQueue: () => {},
  }).fallbacks
}

export const LIST = pluginList.parse({ cniVersion: '1.0.0', name: 'hostnet', plugins: [{ type: 'bridge' }] })

export function fallbackOf(name: string, more: Partial<FallbackRequest> = {}): FallbackRequest {
  return {
    key: { network: 'net', containerId: name, ifName: 'eth0' },
    reason: 'annotation',
    netns: `/run/netns/${name}`,
    netnsIdentity: `4:${name}`,
    bootId: 'boot-1',
    pod: { namespace: 'ns', name, uid: 'u' },
    call: { list: LIST, binDirs: ['/bin/cni'], args: { A: 'b' }, runtimeConfig: { mac: 'x' } },
    ...more,
  }
}
