import type { OffloadApi } from '@cni-offload/protocol'
import { formatAttachmentKey, formatVfId, type HostDevice, type Logger, type VfId, type VirtualFunction } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { reached } from '../steps.ts'

const FREE_IT =
  'Each can be leased again when its pod has ended and it has come home. To have all of them at once, drain the node, stop the daemon, move its journal.db away and start it again.'

/** VFs that are quarantined while nothing says whose they were. */
export const withheld = (journal: Pick<AttachmentJournal, 'vfs'>): VfId[] =>
  journal.vfs().flatMap(({ vf, state, key }) => (state === 'quarantined' && key === undefined ? [vf] : []))

/**
 * After the loss of the journal, before the hardware is touched: a VF that is away is in a pod that may be running. It is left there,
 * and leased to nobody until the agent has told whose it is; so is one without an interface, which a program may have anywhere. One that has come home since is cleaned and can be leased again.
 */
export async function withholdUnknown(
  { device, journal, log, signal }: { device: HostDevice; journal: AttachmentJournal; log: Logger; signal: AbortSignal },
  found: readonly VirtualFunction[],
): Promise<void> {
  const away = new Set(found.flatMap(({ id, netdev }) => (netdev === undefined ? [formatVfId(id)] : [])))
  for (const { id, netdev } of journal.rebuilding ? found : []) {
    if (netdev !== undefined) continue
    journal.withhold(id)
    reached('host.recover.withheld')
  }
  const back = withheld(journal).filter((vf) => !away.has(formatVfId(vf)) && found.some(({ id }) => formatVfId(id) === formatVfId(vf)))
  for (const vf of back) {
    try {
      await device.release(vf, {}, { signal, log })
      journal.readmit(vf)
      reached('host.recover.readmitted')
      log.info({ vf: formatVfId(vf) }, 'VF of an unknown owner has come home: it can be leased again')
    } catch (error) {
      log.error({ vf: formatVfId(vf), err: error }, 'VF of an unknown owner cannot be cleaned: it stays quarantined')
    }
  }
}

/**
 * After the loss of the journal, before the first resync: takes over what the agent still has attached on VFs that are away, and what it
 * has there in a state that only a newer agent knows: left out, the resync would end it, and its pod may be running. What it has on a VF
 * that lies at home is left to the resync, which ends it. Does nothing while the journal is whole.
 *
 * @throws OffloadError whatever the agent fails with; it is repeated with the next attempt to connect
 */
export async function adoptAttachments(
  { client, journal, bootId, log }: { client: Pick<OffloadApi, 'list'>; journal: AttachmentJournal; bootId: string; log: Logger },
  signal: AbortSignal,
): Promise<void> {
  if (!journal.rebuilding) return
  for (const { key, vf, state, result, request } of await client.list({ signal })) {
    if ((state !== 'attached' && state !== 'unknown') || result === undefined || request === undefined) continue
    const { vf: _vf, vfMac: _mac, had: _had, ...intent } = request
    if (!journal.adopt({ intent, vf, result, bootId })) continue
    log.warn({ key: formatAttachmentKey(key), vf: formatVfId(vf), pod: intent.pod, state }, 'attachment taken over from the agent')
    reached('host.recover.adopted')
  }
  journal.rebuilt()
  reached('host.recover.rebuilt')
  const unknown = withheld(journal).map(formatVfId)
  if (unknown.length > 0) log.error({ vfs: unknown, hint: FREE_IT }, 'nobody knows whose these VFs are: they are leased to nobody')
}
