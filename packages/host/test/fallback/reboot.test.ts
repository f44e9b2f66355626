import { silentLogger, systemClock } from '@cni-offload/sdk'
import type { ListCall } from '@cni-offload/sdk/exec'
import { beforeEach, describe, expect, it } from 'vitest'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import type { FallbackRequest } from '../../src/fallback/types.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { FakeHostNetwork, FakeListRunner } from '../support/fake-list-runner.ts'
import { fallbackOf, fallbacksOf } from '../support/fallbacks.ts'

/** What the list was told to end: container and namespace. */
let ended: string[]

class RecordingRunner extends FakeListRunner {
  override async del(call: ListCall): Promise<void> {
    ended.push(`${call.containerId} in "${call.netns}"`)
    await super.del(call)
  }
}

/** A daemon of boot-1. Every namespace of before is there again, with the same identity: inodes come again after a reboot. */
const daemonOver = (journal: SqliteFallbackJournal): ReturnType<typeof fallbacksOf> => {
  const runner = new RecordingRunner(new FakeHostNetwork())
  return fallbacksOf({
    journal,
    runners: () => runner,
    net: { netnsIdentity: async (path) => `4:${path.slice(path.lastIndexOf('/') + 1)}`, link: async () => undefined },
    bootId: 'boot-1',
    limits: DEFAULT_LIMITS,
    observer: { added: () => {} },
    leftToQueue: () => {},
  })
}

const addedIn = (journal: SqliteFallbackJournal, request: FallbackRequest): void => {
  journal.begin(request)
  journal.added(request.key, { cniVersion: '1.0.0' })
}

describe('attachments on the host after a reboot', () => {
  beforeEach(() => {
    ended = []
  })

  it('are ended without a namespace; those of this boot stay', async () => {
    using journal = new SqliteFallbackJournal(':memory:', systemClock)
    addedIn(journal, fallbackOf('old', { bootId: 'boot-0' }))
    addedIn(journal, fallbackOf('new'))
    const { fallbacks, undo } = daemonOver(journal)
    expect(fallbacks.recover()).toBe(1)
    expect(journal.ending().map(({ key }) => key.containerId)).toEqual(['old'])
    for (const { key } of journal.ending()) expect(await undo.retry(key, silentLogger)).toBeUndefined()
    expect(ended).toEqual(['old in ""'])
    expect(journal.all().map(({ key }) => key.containerId)).toEqual(['new'])
  })

  it('are not alive, whatever has their path and identity by now', async () => {
    using journal = new SqliteFallbackJournal(':memory:', systemClock)
    const old = fallbackOf('pod', { bootId: 'boot-0' })
    addedIn(journal, old)
    const { fallbacks } = daemonOver(journal)
    await fallbacks.clearRemains(old.key, silentLogger)
    expect(ended).toEqual(['pod in ""'])
    expect(journal.all()).toEqual([])
  })
})
