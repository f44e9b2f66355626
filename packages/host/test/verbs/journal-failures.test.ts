import { ERROR_CODES, type Logger, OffloadError, silentLogger, systemClock, type VfId } from '@cni-offload/sdk'
import { parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import { describe, expect, it } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { add } from '../../src/verbs/add.ts'
import { del } from '../../src/verbs/del.ts'
import { vfsOf } from '../support/row.ts'
import { contextOf, depsOf, failing } from '../support/verb-deps.ts'

const ENV = parseEnvironment({
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/c1',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
})
const NETCONF = parseNetconf(JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'offload-cni' }), 'ADD')

describe('an ADD that fails while the journal fails', () => {
  it('tells its own error, and logs that it could not be undone', async () => {
    using real = new SqliteJournal(':memory:', systemClock)
    real.syncVfs(vfsOf(1))
    let broken = false
    const attach = async (): Promise<never> => {
      broken = true
      throw new OffloadError('RESOURCE_EXHAUSTED', 'no address is left')
    }
    const deps = depsOf(
      failing(real, () => broken),
      { attach },
    )
    const errors: unknown[] = []
    const log: Logger = { ...silentLogger, error: (fields) => void errors.push(fields['err']) }
    await expect(add(deps, ENV, NETCONF, contextOf(log))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect(errors).toMatchObject([{ code: 'JOURNAL_FAILURE' }])
    expect(real.all(), 'for the DEL that follows').toHaveLength(1)
  })
})

describe('a disk that is full', () => {
  const KEY = { network: 'net', containerId: 'c1', ifName: 'eth0' }
  const RESULT = { mac: '02:00:00:00:00:00', mtu: 1500, ips: [], routes: [], neighbours: [], dns: {}, sysctls: {} }

  /** A daemon whose journal fails at the methods that `full` has, and what it asked of both sides. */
  const world = (away = false) => {
    const journal = new SqliteJournal(':memory:', systemClock)
    journal.syncVfs(vfsOf(1))
    const full = new Set<string>()
    const done: string[] = []
    const deps = depsOf(
      failing(journal, (method) => full.has(method)),
      {
        attach: async (_call, _ctx, noted) => {
          const reply = { result: RESULT, port: 'p0' }
          done.push('attach')
          noted(reply)
          return reply
        },
        detach: async () => {
          if (away) throw new OffloadError('AGENT_UNREACHABLE', 'away')
          done.push('detach')
        },
      },
      async () => void done.push('release'),
    )
    const ctx = contextOf(silentLogger)
    return { journal, full, done, add: () => add(deps, ENV, NETCONF, ctx), del: () => del(deps, KEY, ctx) }
  }

  it.each(['attached', 'wired'])('in the middle of an ADD (%s): it fails, and both sides are undone', async (method) => {
    const { journal, full, done, add: run } = world()
    full.add(method)
    await expect(run()).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
    expect(done.toSorted()).toEqual(['attach', 'detach', 'release'])
    expect(journal.counts()).toMatchObject({ vfs: { free: 1 }, queue: 0 })
    full.clear()
    await run()
    expect(journal.get(KEY)?.phase).toBe('wired')
  })

  it('before a DEL has noted anything: nothing is touched, the runtime may try again', async () => {
    const { journal, full, done, add: run, del: end } = world()
    await run()
    full.add('detaching')
    await expect(end()).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
    expect(ERROR_CODES.JOURNAL_FAILURE.retryable).toBe(true)
    expect(done).toEqual(['attach'])
    expect(journal.get(KEY)?.phase).toBe('wired')
    full.clear()
    await end()
    expect(journal.counts().vfs.free).toBe(1)
  })

  it.each([
    ['both sides are done', 'free', false],
    ['the agent is away', 'quarantine', true],
  ])(
    'when %s and the DEL cannot write it (%s): its end stays noted, the VF is nobody’s, and it can be repeated',
    async (_what, method, away) => {
      const { journal, full, add: run, del: end } = world(away)
      await run()
      full.add(method)
      await expect(end()).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
      expect(journal.get(KEY)?.phase).toBe('detaching')
      expect(journal.counts().vfs.free).toBe(0)
      full.clear()
      await end()
      expect(journal.get(KEY)).toBeUndefined()
      expect(journal.counts()).toMatchObject(away ? { vfs: { quarantined: 1 }, queue: 1 } : { vfs: { free: 1 }, queue: 0 })
    },
  )
})

describe('an ADD that waits for the agent', () => {
  it('leases a VF that the network may use by what the agent says then', async () => {
    using journal = new SqliteJournal(':memory:', systemClock)
    journal.syncVfs(vfsOf(3))
    let kept = -1
    const leased: VfId[] = []
    const deps = depsOf(journal, {
      // As the link does it: what is asked for before it is connected knows nothing of what comes then.
      eligible: () => {
        const then = kept
        return ({ index }) => index > then
      },
      ready: async () => {
        kept = 1
      },
      attach: async ({ vf }) => {
        leased.push(vf)
        throw new OffloadError('RESOURCE_EXHAUSTED', 'no address is left')
      },
    })
    await expect(add(deps, ENV, NETCONF, contextOf(silentLogger))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect(leased).toMatchObject([{ index: 2 }])
  })
})
