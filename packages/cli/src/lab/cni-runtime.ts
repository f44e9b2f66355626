import { spawn } from 'node:child_process'
import { OffloadError } from '@cni-offload/sdk'

/** One call of a CNI executable. */
export interface CniCall {
  /** CNI_COMMAND. */
  readonly verb: string
  /** CNI_CONTAINERID. */
  readonly containerId?: string
  /** CNI_NETNS. */
  readonly netns?: string
  /** CNI_IFNAME. @defaultValue 'eth0' */
  readonly ifName?: string
  /** CNI_ARGS. */
  readonly args?: string
  /** What goes to standard input: text as it is, everything else as JSON. */
  readonly stdin: unknown
  /** Variables besides the CNI ones; replaces nothing of them. */
  readonly env?: Readonly<Record<string, string>>
  /** Kills the executable by SIGKILL when it aborts, as a runtime that is out of patience does. */
  readonly kill?: AbortSignal
}

/** What came of a call. */
export interface CniOutcome {
  /** Exit status; null if a signal ended it. */
  readonly exitCode: number | null
  /** Standard output as it came. */
  readonly stdout: string
  /** Standard output decoded, undefined if it is empty or no JSON. */
  readonly json: Readonly<Record<string, unknown>> | undefined
  /** Standard error. */
  readonly stderr: string
  /** How long it took, in milliseconds. */
  readonly ms: number
}

/**
 * Runs a CNI executable as a container runtime does: one process, CNI_* variables, configuration on standard input.
 *
 * @param executable - the shim or any other plugin
 * @param hostNetns - namespace that the runtime, and so the plugin, runs in
 */
export async function callCni(executable: string, hostNetns: string | undefined, call: CniCall): Promise<CniOutcome> {
  const argv = hostNetns === undefined ? [executable] : ['nsenter', `--net=${hostNetns}`, '--', executable]
  const [command = executable, ...args] = argv
  const started = performance.now()
  const child = spawn(command, args, {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: call.verb,
      CNI_CONTAINERID: call.containerId ?? '',
      CNI_NETNS: call.netns ?? '',
      CNI_IFNAME: call.ifName ?? 'eth0',
      CNI_ARGS: call.args ?? '',
      CNI_PATH: '/opt/cni/bin',
      ...call.env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const kill = (): boolean => child.kill('SIGKILL')
  call.kill?.addEventListener('abort', kill, { once: true })
  if (call.kill?.aborted === true) kill()
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  // A plugin may answer without reading its input.
  child.stdin.on('error', () => {})
  child.stdin.end(typeof call.stdin === 'string' ? call.stdin : JSON.stringify(call.stdin))
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(new OffloadError('IO_FAILURE', `cannot run ${executable}`, { cause })))
    child.once('close', (code) => resolve(code))
  }).finally(() => call.kill?.removeEventListener('abort', kill))
  const ms = performance.now() - started
  const stdout = Buffer.concat(out).toString()
  return { exitCode, stdout, json: decode(stdout), stderr: Buffer.concat(err).toString(), ms }
}

function decode(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
