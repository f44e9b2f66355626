import { systemClock } from '@cni-offload/sdk'
import { pluginList } from '@cni-offload/sdk/exec'
import { Fallbacks } from '../../src/fallback/fallbacks.ts'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import type { FallbackRequest } from '../../src/fallback/types.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'

/** Fallbacks of a daemon that has none configured. */
export function noFallbacks(): Fallbacks {
  return new Fallbacks({
    journal: new SqliteFallbackJournal(':memory:', systemClock),
    runners: () => {
      throw new Error('no list is to be run')
    },
    net: { netnsIdentity: async () => undefined, link: async () => undefined },
    bootId: 'boot-1',
    limits: DEFAULT_LIMITS,
    observer: { added: () => {} },
    leftToQueue: () => {},
  })
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
