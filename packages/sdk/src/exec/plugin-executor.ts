import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { CniVerb } from '../cni/model.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { deadline } from '../runtime/deadline.ts'
import { Limiter } from '../runtime/limiter.ts'
import { type ChildOutcome, runChild } from './child.ts'
import { PLUGIN_OWNER } from './orphans.ts'
import { PluginError } from './plugin-error.ts'

/** How plugins are executed. */
export interface PluginExecutorOptions {
  /** Folders that plugins are looked for in, in this order; also CNI_PATH. */
  readonly cniPath: readonly string[]
  /** Longest that one execution may take, in milliseconds; then the plugin and its children are killed. */
  readonly timeoutMs: number
  /** Variables that plugins get besides CNI_* and PATH. */
  readonly env?: Readonly<Record<string, string>>
  /** Network namespace that plugins run in, by path; this process's when absent. */
  readonly netns?: string
  /**
   * Who starts them, the same after a restart and nobody else's on this machine: {@link endOrphans} finds them by it. Nobody by
   * default.
   */
  readonly owner?: string
  /** How many plugins may run at a time. */
  readonly concurrency?: number
}

/** One execution of one plugin. */
export interface PluginCall {
  /** CNI_COMMAND. */
  readonly verb: CniVerb
  /** File name of the plugin. */
  readonly type: string
  /** CNI_CONTAINERID. */
  readonly containerId: string
  /** CNI_NETNS. */
  readonly netns: string
  /** CNI_IFNAME. */
  readonly ifName: string
  /** CNI_ARGS. */
  readonly args: string
  /** Standard input. */
  readonly stdin: string
}

/** Plugins call iptables, nft, ipset, … by name. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const errorObject = z.object({ code: z.number(), msg: z.string().default(''), details: z.string().default('') })

/** Executes CNI plugins as a container runtime does, with a minimal environment and a bounded number at a time. */
export class PluginExecutor {
  readonly #options: PluginExecutorOptions
  readonly #limiter: Limiter

  /** Four plugins at a time unless the options say otherwise. */
  constructor(options: PluginExecutorOptions) {
    this.#options = options
    this.#limiter = new Limiter(options.concurrency ?? 4)
  }

  /** Path of a plugin. @throws OffloadError NOT_READY that names the folders searched */
  async find(type: string): Promise<string> {
    for (const folder of this.#options.cniPath) {
      const path = join(folder, type)
      if (await isExecutable(path)) return path
    }
    throw new OffloadError('NOT_READY', `plugin "${type}" is in none of ${this.#options.cniPath.join(', ')}`, {
      hint: 'Install it there, or add its folder to those that are searched.',
    })
  }

  /**
   * Executes a plugin and returns what it printed.
   *
   * @throws OffloadError NOT_READY (no such plugin), ADAPTER_FAILED (it failed; the cause is a {@link PluginError}),
   * DEADLINE_EXCEEDED (it did not end in time and was killed), CANCELLED
   */
  async run(call: PluginCall, signal: AbortSignal): Promise<string> {
    const what = `plugin "${call.type}", ${call.verb}`
    const path = await this.find(call.type)
    const { cniPath, timeoutMs, netns, env, owner } = this.#options
    const argv: [string, ...string[]] = netns === undefined ? [path] : ['nsenter', `--net=${netns}`, '--', path]
    const variables = {
      PATH,
      ...env,
      ...(owner === undefined ? {} : { [PLUGIN_OWNER]: owner }),
      CNI_COMMAND: call.verb,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: call.ifName,
      CNI_ARGS: call.args,
      CNI_PATH: cniPath.join(':'),
    }
    let outcome: ChildOutcome
    try {
      outcome = await this.#limiter.run(signal, () => runChild({ argv, env: variables, stdin: call.stdin }, deadline(signal, timeoutMs)))
    } catch (error) {
      if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', what)
      if (error instanceof Error && error.name === 'TimeoutError')
        throw new OffloadError('DEADLINE_EXCEEDED', `${what}: it did not end within ${timeoutMs} ms and was killed`, { cause: error })
      throw new OffloadError('ADAPTER_FAILED', `${what}: it could not be run: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
    if (outcome.exitCode === 0) return outcome.stdout
    const failure = toPluginError(call, outcome)
    throw new OffloadError('ADAPTER_FAILED', `${what}: ${failure.message}`, { cause: failure })
  }
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

/** Plugins print their error as JSON on standard output; what they print elsewhere is shown as it is. */
function toPluginError({ type, verb }: PluginCall, { exitCode, exitSignal, stdout, stderr }: ChildOutcome): PluginError {
  const tail = stderr.trim() === '' ? '' : `; stderr: ${stderr.trim().slice(-1024)}`
  const parsed = errorObject.safeParse(decode(stdout))
  if (parsed.success) {
    const { code, msg, details } = parsed.data
    return new PluginError(type, verb, code, `code ${code}: ${msg}${details === '' ? '' : `; ${details}`}${tail}`)
  }
  const how = exitSignal === null ? `exited with ${exitCode}` : `was killed by ${exitSignal}`
  const printed = stdout.trim() === '' ? 'without an error object' : `and printed ${JSON.stringify(stdout.trim().slice(0, 256))}`
  return new PluginError(type, verb, undefined, `${how} ${printed}${tail}`)
}

function decode(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
