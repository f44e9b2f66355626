import type { LinuxNet } from '@cni-offload/linux'
import { type HostDevice, type Logger, OffloadError, silentLogger, systemClock, type VfId } from '@cni-offload/sdk'
import { parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import { KeyedMutex, Limiter } from '@cni-offload/sdk/runtime'
import { describe, expect, it } from 'vitest'
import type { AgentLink } from '../../src/agent/agent-link.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { AttachmentInfo } from '../../src/device-info/attachment-info.ts'
import { DeviceInfoFiles } from '../../src/device-info/device-info-files.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { Stages } from '../../src/metrics/stages.ts'
import { Undo } from '../../src/undo/undo.ts'
import { add } from '../../src/verbs/add.ts'
import type { VerbContext, VerbDeps } from '../../src/verbs/deps.ts'
import { noFallbacks } from '../support/fallbacks.ts'
import { vfsOf } from '../support/row.ts'

const ENV = parseEnvironment({
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/c1',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
})
const NETCONF = parseNetconf(JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'offload-cni' }), 'ADD')

/** A journal whose writes fail once `broken` says so. */
const failing = (journal: SqliteJournal, broken: () => boolean): SqliteJournal =>
  new Proxy(journal, {
    get(target, name: keyof SqliteJournal) {
      const own = target[name]
      if (typeof own !== 'function') return own
      return (...args: unknown[]) => {
        if (broken() && name !== 'get') throw new OffloadError('JOURNAL_FAILURE', 'the disk is full')
        return (own as (...rest: unknown[]) => unknown).apply(target, args)
      }
    },
  })

/** A daemon over a journal and an agent, whose hardware and kernel do all that they are asked for. */
function depsOf(journal: SqliteJournal, agent: Partial<AgentLink>): VerbDeps {
  const device = {
    acquire: async () => ({ name: 'vf0', mac: '02:00:00:00:00:00', mtu: 1500 }),
    release: async () => {},
  } as unknown as HostDevice
  const net = { netnsIdentity: async () => '4:1', apply: async () => {} } as unknown as LinuxNet
  const deviceInfo = new AttachmentInfo(new DeviceInfoFiles('/nonexistent'), device)
  const link = { ready: async () => {}, eligible: () => () => true, detach: async () => {}, ...agent } as AgentLink
  return {
    journal,
    device,
    net,
    agent: link,
    deviceInfo,
    undo: new Undo({ journal, device, agent: link, deviceInfo, net, limits: DEFAULT_LIMITS }),
    fallback: noFallbacks(),
    leftToQueue: () => {},
    locks: new KeyedMutex(),
    adds: new Limiter(1),
    limits: DEFAULT_LIMITS,
    hostNetns: { path: '/proc/self/ns/net', identity: '4:0' },
    bootId: 'boot-1',
    ipv6: true,
    counted: false,
  }
}

const contextOf = (log: Logger): VerbContext => ({
  signal: new AbortController().signal,
  log,
  requestId: 'r',
  stages: new Stages(systemClock),
})

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
