import { formatAttachmentKey, type Logger } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
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
    }),
  )
  return remains.length
}
