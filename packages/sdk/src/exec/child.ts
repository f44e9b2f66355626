import { spawn } from 'node:child_process'

/** How a child process ended. */
export interface ChildOutcome {
  /** Exit code; null when a signal ended it. */
  readonly exitCode: number | null
  /** Signal that ended it; null when it exited. */
  readonly exitSignal: string | null
  /** Standard output. */
  readonly stdout: string
  /** The last part of standard error. */
  readonly stderr: string
}

/** What to run and with what. */
export interface ChildSpec {
  /** Program and arguments; no shell is involved. */
  readonly argv: readonly [string, ...string[]]
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>
  /** Written to standard input, which is then closed. */
  readonly stdin: string
}

/** More than any CNI result; a program that prints more is killed. */
const STDOUT_LIMIT = 8 * 1024 * 1024
const STDERR_KEPT = 4096

/**
 * Runs a program to its end, that is until it has exited and nobody holds its output open any more.
 *
 * It gets a process group of its own, so that an abort also reaches what it has started (IPAM plugins, iptables).
 *
 * @throws the signal's reason when it aborts first, after the group is killed; the system's error when the program cannot be
 * started; RangeError when it prints more than 8 MiB
 */
export async function runChild(spec: ChildSpec, signal: AbortSignal): Promise<ChildOutcome> {
  signal.throwIfAborted()
  const [program, ...args] = spec.argv
  const { promise, resolve, reject } = Promise.withResolvers<ChildOutcome>()
  const child = spawn(program, args, { env: spec.env, stdio: 'pipe', detached: true })
  const stdout: Buffer[] = []
  let size = 0
  let stderr = ''

  const kill = (reason: unknown): void => {
    if (child.pid !== undefined) killGroup(child.pid)
    // A grandchild that left the group may hold the pipes open for ever.
    child.stdout.destroy()
    child.stderr.destroy()
    const settle = (): void => reject(reason as Error)
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) settle()
    else child.once('exit', settle)
  }
  const abort = (): void => kill(signal.reason)
  signal.addEventListener('abort', abort, { once: true })

  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > STDOUT_LIMIT) kill(new RangeError(`more than ${STDOUT_LIMIT} bytes on standard output`))
    else stdout.push(chunk)
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr = (stderr + chunk).slice(-STDERR_KEPT)
  })
  // A program that does not read its input closes the pipe: its exit code says what that means.
  child.stdin.on('error', () => {})
  child.stdin.end(spec.stdin)
  child.once('error', reject)
  child.once('close', (exitCode, exitSignal) => resolve({ exitCode, exitSignal, stdout: Buffer.concat(stdout).toString('utf8'), stderr }))

  try {
    return await promise
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}
