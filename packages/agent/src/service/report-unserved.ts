import { formatAttachmentKey, type Logger } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import type { Networks } from './networks.ts'

/** Tells of attachments whose adapter is not configured any more, one line for each network. */
export function reportUnserved(
  { journal, networks }: { readonly journal: Pick<AttachmentJournal, 'all'>; readonly networks: Networks },
  log: Logger,
): void {
  const unserved = journal.all().filter((row) => networks.makerOf(row) === undefined)
  for (const [network, rows] of Map.groupBy(unserved, ({ key }) => key.network))
    log.error(
      {
        network,
        madeBy: [...new Set(rows.flatMap(({ madeBy }) => madeBy ?? []))],
        attachments: rows.map(({ key }) => formatAttachmentKey(key)),
        hint: 'Add it to the configuration again until its pods are gone.',
      },
      'attachments of an adapter that is not configured any more: they cannot be ended and keep their VFs',
    )
}
