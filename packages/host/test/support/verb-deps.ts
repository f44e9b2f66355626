import type { LinuxNet } from '@cni-offload/linux'
import { type HostDevice, type Logger, OffloadError, systemClock } from '@cni-offload/sdk'
import { KeyedMutex, Limiter } from '@cni-offload/sdk/runtime'
import type { AgentLink } from '../../src/agent/agent-link.ts'
import { AttachmentInfo } from '../../src/device-info/attachment-info.ts'
import { DeviceInfoFiles } from '../../src/device-info/device-info-files.ts'
import type { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'
import { Stages } from '../../src/metrics/stages.ts'
import { Undo } from '../../src/undo/undo.ts'
import type { VerbContext, VerbDeps } from '../../src/verbs/deps.ts'
import { noFallbacks } from './fallbacks.ts'
import { noIpam } from './ipam.ts'

/** A journal whose writes fail as on a full disk where `broken` says so. */
export const failing = (journal: SqliteJournal, broken: (method: string) => boolean): SqliteJournal =>
  new Proxy(journal, {
    get(target, name: keyof SqliteJournal) {
      const own = target[name]
      if (typeof own !== 'function') return own
      return (...args: unknown[]) => {
        if (name !== 'get' && broken(String(name))) throw new OffloadError('JOURNAL_FAILURE', 'the disk is full')
        return (own as (...rest: unknown[]) => unknown).apply(target, args)
      }
    },
  })

/** A daemon over a journal and an agent, whose hardware and kernel do all that they are asked for. */
export function depsOf(journal: SqliteJournal, agent: Partial<AgentLink>, release: () => Promise<void> = async () => {}): VerbDeps {
  const device = {
    acquire: async () => ({ name: 'vf0', mac: '02:00:00:00:00:00', mtu: 1500 }),
    release,
  } as unknown as HostDevice
  const net = { netnsIdentity: async () => '4:1', apply: async () => {} } as unknown as LinuxNet
  const deviceInfo = new AttachmentInfo(new DeviceInfoFiles('/nonexistent'), device)
  const link = { ready: async () => {}, eligible: () => () => true, detach: async () => {}, ...agent } as AgentLink
  const { ipam, undo: ipamUndo } = noIpam(journal)
  return {
    journal,
    device,
    net,
    agent: link,
    deviceInfo,
    ipam,
    undo: new Undo({ journal, device, agent: link, deviceInfo, ipam: ipamUndo, net, limits: DEFAULT_LIMITS }),
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

export const contextOf = (log: Logger): VerbContext => ({
  signal: new AbortController().signal,
  log,
  requestId: 'r',
  stages: new Stages(systemClock),
})
