import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { systemClock } from '../contracts/clock.ts'
import type { ChildOutcome } from './child.ts'

/** A program that was started and is to run on. */
export interface RunningChild {
  /** Its process. */
  readonly pid: number
  /** Resolves when it has ended, after the last of its lines. Never rejects. */
  readonly ended: Promise<Pick<ChildOutcome, 'exitCode' | 'exitSignal'>>
  /** Sends it a signal; that it has ended is no failure. */
  kill(signal: NodeJS.Signals): void
}

/** For whoever holds its output open after its end: its last lines are read by then. */
const REST_MS = 1_000

/**
 * Starts a program that runs until it is told to end, and reads what it prints. It gets a session of its own: an interrupt at a terminal
 * does not reach it.
 *
 * @param spec - program and arguments, no shell is involved; the whole environment
 * @param onLine - called with each line of both its streams
 * @throws the system's error if it cannot be started: ENOENT, EACCES
 */
export async function startChild(
  { argv, env }: { readonly argv: readonly [string, ...string[]]; readonly env: Readonly<Record<string, string>> },
  onLine: (line: string) => void,
): Promise<RunningChild> {
  const [program, ...args] = argv
  const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env })
  const lines = (stream: Readable): void => void createInterface({ input: stream, crlfDelay: Infinity }).on('line', onLine)
  lines(child.stdout)
  lines(child.stderr)
  // A signal that cannot be sent is an event, too, and would end this process.
  child.on('error', () => {})
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
  })
  const exited = new Promise<Awaited<RunningChild['ended']>>((resolve) => {
    child.once('exit', (exitCode, exitSignal) => resolve({ exitCode, exitSignal }))
  })
  await once(child, 'spawn')
  const ended = exited.then(async (end) => {
    const closing = new AbortController()
    await Promise.race([closed, systemClock.sleep(REST_MS, closing.signal).catch(() => {})])
    closing.abort()
    child.stdout.destroy()
    child.stderr.destroy()
    return end
  })
  return { pid: child.pid ?? 0, ended, kill: (signal) => void child.kill(signal) }
}
