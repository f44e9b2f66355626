import { execFile } from 'node:child_process'
import { OffloadError } from '@cni-offload/sdk'

/** How a command is run. */
export interface ExecOptions {
  /** Ends the command when aborted. */
  readonly signal?: AbortSignal
  /** After this many milliseconds the command is killed. @defaultValue 30000 */
  readonly timeoutMs?: number
  /** Text for its standard input. */
  readonly input?: string
  /** Environment instead of this process's own. */
  readonly env?: Readonly<Record<string, string>>
}

/** What a command left. */
export interface ExecResult {
  /** Exit code. */
  readonly code: number
  /** Standard output. */
  readonly stdout: string
  /** Standard error. */
  readonly stderr: string
}

/**
 * Runs a command without a shell to its end. An exit code other than 0 is a result, not an error.
 *
 * @throws OffloadError IO_FAILURE if it could not be started; DEADLINE_EXCEEDED, CANCELLED if it was killed
 */
export function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const [file, ...args] = argv
  if (file === undefined) throw new OffloadError('INTERNAL', 'exec: argv is empty')
  const { promise, resolve, reject } = Promise.withResolvers<ExecResult>()
  const child = execFile(
    file,
    args,
    {
      encoding: 'utf8',
      killSignal: 'SIGKILL',
      maxBuffer: 64 << 20,
      timeout: options.timeoutMs ?? 30_000,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.env === undefined ? {} : { env: { ...options.env } }),
    },
    (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr })
      else if (options.signal?.aborted === true) reject(OffloadError.from(options.signal.reason, 'CANCELLED', argv.join(' ')))
      else if (error.killed === true)
        reject(
          new OffloadError('DEADLINE_EXCEEDED', `${argv.join(' ')} was killed after ${options.timeoutMs ?? 30_000} ms: ${stderr}`, {
            cause: error,
          }),
        )
      else reject(new OffloadError('IO_FAILURE', `${argv.join(' ')} could not be run: ${error.message}`, { cause: error }))
    },
  )
  // A command that does not read its input closes it early: that is its right and no error of ours.
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input ?? '')
  return promise
}

/** The command as it runs inside a network namespace. */
export function inNetns(netns: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=${netns}`, '--', ...argv]
}
