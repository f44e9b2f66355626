import type { Clock } from '@cni-offload/sdk'
import { SqlitePluginJournal } from '../plugins/sqlite-plugin-journal.ts'
import type { FallbackRequest } from './types.ts'

/** The journal of attachments on the host's network, in an SQLite file of its own. */
export class SqliteFallbackJournal extends SqlitePluginJournal<FallbackRequest> {
  /** Opens or makes the file; one that cannot be read is set aside. @throws OffloadError JOURNAL_FAILURE when it is of a newer version */
  constructor(file: string, clock: Clock) {
    super({ file, table: 'fallbacks', holds: 'the network of the host', clock })
  }
}
