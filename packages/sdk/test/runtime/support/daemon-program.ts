import { OffloadError } from '../../../src/index.ts'
import { aborted, type Daemon, runDaemon } from '../../../src/runtime/index.ts'

const say = (text: string): boolean => process.stdout.write(`${text}\n`)

/** What the daemon does is told by the name of its configuration. */
const DAEMONS: Readonly<Record<string, () => Daemon>> = {
  orderly: () => ({
    listening: Promise.resolve(),
    async run(signal) {
      // Left behind on purpose: it must not keep the process alive.
      setInterval(() => {}, 60_000)
      say('serving')
      await aborted(signal)
      say(`drained: ${(signal.reason as Error).message}`)
    },
  }),
  stuck: () => ({
    listening: Promise.resolve(),
    async run(signal) {
      const alive = setInterval(() => {}, 60_000)
      await aborted(signal)
      say('draining')
      await new Promise(() => alive)
    },
  }),
  broken: () => {
    const failure = new OffloadError('HARDWARE_FAILURE', 'the card does not answer: no link', {
      cause: new Error('no link', { cause: new Error('cable is out') }),
      hint: 'Plug it in.',
    })
    return { listening: Promise.reject(failure), run: () => Promise.reject(failure) }
  },
  'broken twice': () => ({
    listening: new Promise(() => {}),
    async run() {
      await using stack = new AsyncDisposableStack()
      stack.defer(() => {
        throw new Error('nor does it stop')
      })
      throw new OffloadError('INVALID_CONFIG', 'it does not start')
    },
  }),
}

await runDaemon({
  name: 'test-daemon',
  purpose: 'Does what its configuration is called.',
  create: async (file) => {
    const daemon = DAEMONS[file]
    if (daemon === undefined) throw new OffloadError('INVALID_CONFIG', `${file}: no such daemon`)
    return daemon()
  },
})
