import { parseArgs } from 'node:util'
import { OffloadError } from '../errors/offload-error.ts'
import { failures, failureText } from './failure-text.ts'
import { announceReady } from './ready.ts'

/** What a daemon's program runs. */
export interface Daemon {
  /** Settles when it serves; rejects if it never comes to that. */
  readonly listening: Promise<unknown>
  /** Serves until the signal aborts, lets what runs end, and stops. */
  run(signal: AbortSignal): Promise<void>
}

/** The program of a daemon. */
export interface DaemonProgram {
  /** Name of the executable, for its messages. */
  readonly name: string
  /** What it is for, one sentence. */
  readonly purpose: string
  /** Reads the configuration and makes the daemon; nothing is started yet. @throws OffloadError INVALID_CONFIG for a wrong configuration */
  create(configFile: string): Promise<Daemon>
}

const usage = ({ name, purpose }: DaemonProgram): string => `usage: ${name} --config FILE

${purpose}

  --config FILE   configuration, YAML
  --help          this text

SIGTERM or SIGINT lets running calls end and stops; a second one stops at once.
Attachments stay in either case: pods keep their network.
If OFFLOAD_READY_FD names a descriptor, one line is written to it when calls are served.
`

/**
 * A daemon's `main`: reads the arguments, runs the daemon until a signal says otherwise, tells who started it when it serves,
 * and ends the process: 0 after `--help` or an orderly stop, 1 after a failure or a second signal, 2 when arguments or
 * configuration are wrong. Failures are explained on standard error.
 *
 * @param argv - arguments without interpreter and script
 */
export async function runDaemon(program: DaemonProgram, argv: readonly string[] = process.argv.slice(2)): Promise<never> {
  try {
    await live(program, argv)
  } catch (error) {
    const found = failures(error)
    for (const failure of found) process.stderr.write(failureText(program.name, failure))
    process.exit(found[0]?.code === 'INVALID_CONFIG' ? 2 : 1)
  }
  // A plugin that leaves a timer or socket behind must not keep a stopped daemon alive.
  process.exit(0)
}

async function live(program: DaemonProgram, argv: readonly string[]): Promise<void> {
  const file = configFile(program.name, argv)
  if (file === undefined) {
    process.stdout.write(usage(program))
    return
  }
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      // The journal makes an exit at any instruction safe; the next start undoes what was half done.
      if (stop.signal.aborted) process.exit(1)
      stop.abort(new OffloadError('CANCELLED', `${program.name} was told to stop (${name})`))
    })
  const daemon = await program.create(file)
  const running = daemon.run(stop.signal)
  void daemon.listening.then(
    () => announceReady(),
    () => {},
  )
  await running
}

/** @returns undefined where help is wanted */
function configFile(name: string, argv: readonly string[]): string | undefined {
  const wrong = (text: string): OffloadError => new OffloadError('INVALID_CONFIG', text, { hint: `Try ${name} --help.` })
  try {
    const { values } = parseArgs({ args: [...argv], options: { config: { type: 'string' }, help: { type: 'boolean' } } })
    if (values.help === true) return undefined
    if (values.config === undefined) throw wrong('--config FILE is missing')
    return values.config
  } catch (error) {
    throw OffloadError.is(error) ? error : wrong(error instanceof Error ? error.message : String(error))
  }
}
