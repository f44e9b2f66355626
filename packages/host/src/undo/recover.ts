import { formatAttachmentKey, formatVfId, type HostDevice, type Logger, type VirtualFunction } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { reached } from '../steps.ts'
import { isAtHome } from '../wiring/userspace.ts'
import type { Undo } from './undo.ts'

/**
 * Undoes what a crash or a reboot left: attachments that were not complete, and all of an earlier boot, whose namespaces
 * are gone. Only the host's side is done now; the agent is told as soon as it can be reached, so that a node whose DPU is
 * down starts all the same.
 */
export async function recover(journal: AttachmentJournal, undo: Pick<Undo, 'attachment'>, bootId: string, log: Logger): Promise<number> {
  const remains = journal.all().filter((row) => row.phase !== 'wired' || row.bootId !== bootId)
  await Promise.all(
    remains.map(async (row) => {
      const why = row.bootId === bootId ? `the daemon ended while it was ${row.phase}` : 'the host was rebooted'
      log.warn({ key: formatAttachmentKey(row.key), phase: row.phase, why }, 'undoing an attachment')
      await undo.attachment(row, { release: true, detach: true }, log, 'later')
      reached('host.recover.undone')
    }),
  )
  return remains.length
}

/**
 * Brings home VFs that are away although the journal knows of nobody who has them: the journal has lost its last
 * transactions with a power cut, or was removed. One that does not come home is not leased.
 */
export async function reclaim(
  { device, journal, log, signal }: { device: HostDevice; journal: AttachmentJournal; log: Logger; signal: AbortSignal },
  found: readonly VirtualFunction[],
): Promise<void> {
  const free = new Set(journal.vfs().flatMap(({ vf, state }) => (state === 'free' ? [formatVfId(vf)] : [])))
  const away = found.filter((vf) => !isAtHome(vf) && free.has(formatVfId(vf.id)))
  await Promise.all(
    away.map(async ({ id }) => {
      try {
        await device.release(id, {}, { signal, log })
        reached('host.recover.reclaimed')
        log.warn({ vf: formatVfId(id) }, 'VF was away without an attachment: it is back')
      } catch (error) {
        log.error({ vf: formatVfId(id), err: error }, 'VF is away without an attachment and does not come back: it is not used')
        journal.setHealth(id, 'unhealthy')
      }
    }),
  )
}
