import { parentPort, workerData } from 'node:worker_threads'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { leaseOf } from './row.ts'

/** Leases as often as it is told, through a connection of its own, and reports what it got. */
const { file, names } = workerData as { file: string; names: string[] }
using journal = new SqliteJournal(file, systemClock)
const got: number[] = []
let refused = 0
for (const name of names) {
  try {
    got.push(journal.lease(leaseOf(name)).vf.index)
  } catch (error) {
    // Anything else, such as a lock that two connections wait for from each other, must fail the test.
    if (OffloadError.is(error) && error.code === 'NO_FREE_VF') refused++
    else throw error
  }
}
parentPort?.postMessage({ got, refused })
