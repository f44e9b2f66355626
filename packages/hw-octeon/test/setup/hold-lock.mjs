// Holds the lock that its argument names, until it is killed.
import { takeSetupLock } from '../../src/setup/lock.ts'
await takeSetupLock('a test', new AbortController().signal, process.argv[2])
setInterval(() => {}, 60_000)
process.send('held')
