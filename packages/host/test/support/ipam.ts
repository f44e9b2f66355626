import { systemClock } from '@cni-offload/sdk'
import { HostIpam } from '../../src/ipam/host-ipam.ts'
import { IpamUndo } from '../../src/ipam/ipam-undo.ts'
import type { IpamRunners } from '../../src/ipam/runners.ts'
import { SqliteIpamJournal } from '../../src/ipam/sqlite-ipam-journal.ts'
import type { IpamJournal } from '../../src/ipam/types.ts'
import type { AttachmentJournal } from '../../src/journal/types.ts'
import { DEFAULT_LIMITS } from '../../src/limits.ts'

/** Addresses over their undo. */
export function ipamOf(
  attachments: AttachmentJournal,
  runners: IpamRunners,
  journal: IpamJournal = new SqliteIpamJournal(':memory:', systemClock),
): { ipam: HostIpam; undo: IpamUndo; journal: IpamJournal } {
  const net = { netnsIdentity: async (): Promise<string> => '4:1' }
  const common = { journal, attachments, config: {}, runners, bootId: 'boot-1', limits: DEFAULT_LIMITS }
  const undo = new IpamUndo({ ...common, net, leftToQueue: () => {} })
  return { ipam: new HostIpam({ ...common, undo }), undo, journal }
}

/** Those of a daemon whose networks have no addresses of its host: nothing is to be run, nor written. */
export function noIpam(attachments: AttachmentJournal): { ipam: HostIpam; undo: IpamUndo } {
  const journal = new Proxy({} as IpamJournal, {
    get: (_target, method) => () => {
      if (method !== 'get') throw new Error(`${String(method)} of the journal of addresses`)
    },
  })
  return ipamOf(
    attachments,
    () => {
      throw new Error('no IPAM plugin is to be run')
    },
    journal,
  )
}
