import { systemClock } from '@cni-offload/sdk'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { endPartly, leaseOf, RESULT, vfsOf } from './row.ts'

/** Opens a journal, writes to it, and never lets go of it: it ends with its parent, or is killed. */
const journal = new SqliteJournal(process.argv[2] ?? '', systemClock)
journal.syncVfs(vfsOf(2))
const { key } = journal.lease(leaseOf('a'))
journal.attached(key, RESULT)
endPartly(journal, journal.lease(leaseOf('b')).key, { release: false, detach: true, reason: 'agent away' })
process.stdout.write('held')
process.stdin.resume()
process.stdin.once('end', () => process.exit())
