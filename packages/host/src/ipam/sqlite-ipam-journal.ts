import type { Clock } from '@cni-offload/sdk'
import { SqlitePluginJournal } from '../plugins/sqlite-plugin-journal.ts'
import type { IpamRequest } from './types.ts'

/** The journal of addresses that IPAM plugins have given on this host, in an SQLite file of its own. */
export class SqliteIpamJournal extends SqlitePluginJournal<IpamRequest> {
  /** Opens or makes the file; one that cannot be read is set aside. @throws OffloadError JOURNAL_FAILURE when it is of a newer version */
  constructor(file: string, clock: Clock) {
    super({ file, table: 'ipam', holds: 'addresses of an IPAM plugin', clock })
  }
}
