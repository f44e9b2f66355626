import { OffloadError, parseWith } from '@cni-offload/sdk'
import { type ChildOutcome, runChild } from '@cni-offload/sdk/exec'
import { deadline } from '@cni-offload/sdk/runtime'
import type { z } from 'zod'
import { exitError, KubectlError } from './kubectl-error.ts'

/** How kubectl is called. */
export interface KubectlOptions {
  /** Path, or name in `PATH`. @defaultValue kubectl */
  readonly executable?: string | undefined
  /** `--kubeconfig`; kubectl's own default otherwise. */
  readonly kubeconfig?: string | undefined
  /** `--context`; the current one of the kubeconfig by default. */
  readonly context?: string | undefined
  /** Longest that one call may take, milliseconds. @defaultValue 30000 */
  readonly timeoutMs?: number | undefined
  /** Its environment, from which it takes `KUBECONFIG`, `HOME` and the `PATH` of login helpers. @defaultValue this process's */
  readonly env?: NodeJS.ProcessEnv | undefined
}

/** One call. */
export interface KubectlCall {
  /** Arguments. They are shown in messages and in the process list: what is secret belongs into the input. */
  readonly args: readonly string[]
  /** Standard input, such as a manifest for `-f -`. Never shown. */
  readonly input?: string
  /** Longest that it may take, milliseconds; that of all calls by default. */
  readonly timeoutMs?: number
}

/** A container to run a command in. */
export interface ExecTarget {
  /** Kubernetes namespace. */
  readonly namespace: string
  /** Pod name. */
  readonly pod: string
  /** Container name; the pod's default one if left out. */
  readonly container?: string
}

/** What a command in a container left. */
export interface ExecOutcome {
  /** Exit code of the command. */
  readonly exitCode: number
  /** Standard output. */
  readonly stdout: string
  /** Standard error, its last 4 KiB. */
  readonly stderr: string
}

/** Most that is shown of a call's arguments. */
const SHOWN = 200

/** How kubectl says that it was the command in the container that failed, and not itself. */
const REMOTE_EXIT = /^command terminated with exit code (\d+)\s*$/m

/** Calls kubectl, a process for each call; no shell is involved. */
export class Kubectl {
  readonly #options: KubectlOptions

  /** Calls nothing yet. */
  constructor(options: KubectlOptions = {}) {
    this.#options = options
  }

  /**
   * Calls kubectl.
   *
   * @returns what it printed
   * @throws KubectlError that says how it failed and what to do; OffloadError CANCELLED or DEADLINE_EXCEEDED when the signal aborts
   */
  async run(call: KubectlCall, signal: AbortSignal): Promise<string> {
    const { exitCode, stdout, stderr } = await this.#start(call, signal)
    if (exitCode !== 0) throw exitError(shown(call), exitCode, stderr)
    return stdout
  }

  /**
   * Calls kubectl with `-o json`.
   *
   * @throws as of {@link run}; OffloadError UNDECODABLE that names the field, when it prints something else than the schema wants
   */
  async json<S extends z.ZodType>(call: KubectlCall, schema: S, signal: AbortSignal): Promise<z.output<S>> {
    const asked = { ...call, args: [...call.args, '-o', 'json'] }
    const text = await this.run(asked, signal)
    return parseWith(schema, decoded(text, shown(asked)), `answer of ${shown(asked)}`, 'UNDECODABLE')
  }

  /** As {@link json}. @returns undefined when the object is not there; a kind that is not there is an error nevertheless */
  async find<S extends z.ZodType>(call: KubectlCall, schema: S, signal: AbortSignal): Promise<z.output<S> | undefined> {
    try {
      return await this.json(call, schema, signal)
    } catch (error) {
      if (error instanceof KubectlError && error.kind === 'not-found') return undefined
      throw error
    }
  }

  /**
   * Runs a command in a container, without a shell.
   *
   * @returns also when the command failed
   * @throws as of {@link run}, when it could not be run
   */
  async exec(target: ExecTarget, argv: readonly string[], signal: AbortSignal, timeoutMs?: number): Promise<ExecOutcome> {
    const container = target.container === undefined ? [] : ['-c', target.container]
    const call: KubectlCall = {
      args: ['exec', '-n', target.namespace, target.pod, ...container, '--', ...argv],
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    }
    const { exitCode, stdout, stderr } = await this.#start(call, signal)
    const remote = REMOTE_EXIT.exec(stderr)?.[1]
    if (exitCode !== 0 && remote === undefined) throw exitError(shown(call), exitCode, stderr)
    return { exitCode: Number(remote ?? 0), stdout, stderr: stderr.replace(REMOTE_EXIT, '').trimEnd() }
  }

  async #start(call: KubectlCall, signal: AbortSignal): Promise<Omit<ChildOutcome, 'exitCode'> & { readonly exitCode: number }> {
    const { executable = 'kubectl', kubeconfig, context } = this.#options
    const flags = [...flag('--kubeconfig', kubeconfig), ...flag('--context', context)]
    const timeoutMs = call.timeoutMs ?? this.#options.timeoutMs ?? 30_000
    const argv: [string, ...string[]] = [executable, ...flags, ...call.args]
    try {
      const outcome = await runChild({ argv, env: this.#environment(), stdin: call.input ?? '' }, deadline(signal, timeoutMs))
      if (outcome.exitCode !== null) return { ...outcome, exitCode: outcome.exitCode }
      throw new KubectlError(`${shown(call)}: it was killed by ${outcome.exitSignal}`, { kind: 'failed' })
    } catch (error) {
      if (OffloadError.is(error)) throw error
      if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', shown(call))
      throw startError(executable, shown(call), timeoutMs, error)
    }
  }

  #environment(): Readonly<Record<string, string>> {
    const all = Object.entries(this.#options.env ?? process.env)
    return Object.fromEntries(all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  }
}

const flag = (name: string, value: string | undefined): readonly string[] => (value === undefined ? [] : [name, value])

const shown = ({ args }: KubectlCall): string => {
  const text = `kubectl ${args.join(' ')}`
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
}

function startError(executable: string, what: string, timeoutMs: number, error: unknown): KubectlError {
  if (!(error instanceof Error)) return new KubectlError(`${what}: ${String(error)}`, { kind: 'failed', cause: error })
  if (error.name === 'TimeoutError')
    return new KubectlError(`${what}: it did not end within ${timeoutMs} ms and was killed`, { kind: 'timeout', cause: error })
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ENOENT' || code === 'EACCES')
    return new KubectlError(
      `kubectl = ${executable}: ${code === 'ENOENT' ? 'there is no such program' : 'it may not be executed'} (${code})`,
      {
        kind: 'missing',
        cause: error,
      },
    )
  return new KubectlError(`${what}: it could not be run: ${error.message}`, { kind: 'failed', cause: error })
}

function decoded(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `answer of ${what} is not JSON: ${JSON.stringify(text.trim().slice(0, 120))}`, { cause: error })
  }
}
