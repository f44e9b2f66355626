import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'

/** How a virtual machine is run. */
export interface BootOptions {
  /** Program and arguments. */
  readonly argv: readonly [string, ...string[]]
  /** What is added to the environment. */
  readonly env: Readonly<Record<string, string>>
  /** File that everything is written to that comes from the machine's console, and from the program. */
  readonly log: string
  /** Ends the machine. */
  readonly signal: AbortSignal
  /** Told of each line of the console. */
  readonly onLine: (line: string) => void
}

/**
 * Runs a virtual machine until it has switched itself off.
 *
 * @returns why it did not end as it should, undefined if it did
 */
export async function boot({ argv: [program, ...args], env, log, signal, onLine }: BootOptions): Promise<string | undefined> {
  await using file = await open(log, 'w')
  // setpriv: not even a killed caller leaves a machine behind.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', file.fd],
    signal,
    killSignal: 'SIGKILL',
  })
  const errors: string[] = []
  child.on('error', ({ message }) => errors.push(signal.aborted ? reasonOf(signal) : message))
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('close', (code, by) => resolve(errors[0] ?? (code === 0 ? undefined : `QEMU ended with ${by ?? `status ${code}`}`)))
  })
  for await (const line of child.stdout === null ? [] : createInterface({ input: child.stdout })) {
    const text = line.trimEnd()
    await file.write(`${text}\n`)
    onLine(text)
  }
  return await ended
}

const reasonOf = ({ reason }: AbortSignal): string => (reason instanceof Error ? reason.message : String(reason))
