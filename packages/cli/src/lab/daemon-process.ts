import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { nodeEnvironment } from '@cni-offload/sdk/exec'
import type { DaemonLaunch, LabRole } from './model.ts'

const PROGRAMS: Readonly<Record<LabRole | 'card', string>> = {
  host: '@cni-offload/host/main',
  agent: '@cni-offload/agent/main',
  cilium: '@cni-offload/testing/cilium/main',
  card: '@cni-offload/testing/octeon/main',
}

const READY_FD = 3
const GRACE_MS = 15_000
/** A daemon undoes what a crash left before it serves, and the kernel may be busy with others. */
const START_MS = 60_000

/**
 * Starts a daemon in a network namespace, in the background, and waits until it says that it serves (one line on the
 * descriptor that OFFLOAD_READY_FD names).
 *
 * @returns its pid
 * @throws OffloadError NOT_READY with the end of its log if it ends or stays silent
 */
export async function startDaemon(options: {
  role: LabRole | 'card'
  netns: string
  config: string
  log: string
  launch?: DaemonLaunch
  timeoutMs?: number
}): Promise<number> {
  const main = fileURLToPath(import.meta.resolve(PROGRAMS[options.role]))
  const log = openSync(options.log, 'a')
  const { execArgv = [], env = {} } = options.launch ?? {}
  const child = spawn('nsenter', [`--net=${options.netns}`, '--', process.execPath, ...execArgv, main, '--config', options.config], {
    detached: true,
    stdio: ['ignore', log, log, 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      OFFLOAD_READY_FD: String(READY_FD),
      NODE_NO_WARNINGS: '1',
      ...nodeEnvironment(),
      ...env,
    },
  })
  closeSync(log)
  const ready = child.stdio[READY_FD]
  if (ready === null || ready === undefined || !('on' in ready)) throw new OffloadError('INTERNAL', 'no readiness pipe')
  const timeout = AbortSignal.timeout(options.timeoutMs ?? START_MS)
  const settled = new AbortController()
  const signal = AbortSignal.any([settled.signal, timeout])
  const failed = (why: string, cause?: unknown): OffloadError =>
    new OffloadError('NOT_READY', `${options.role} daemon in ${options.netns} ${why}; end of ${options.log}:\n${tail(options.log)}`, {
      cause,
    })
  const ended = once(child, 'exit', { signal }).then(([code, by]) => {
    throw failed(`ended with ${by ?? `exit code ${code}`} before it was ready`)
  })
  try {
    // Whichever comes first; an 'error' of the child, it could not be started, rejects both.
    await Promise.race([once(ready, 'data', { signal }), ended])
  } catch (error) {
    child.kill('SIGKILL')
    throw OffloadError.is(error) ? error : failed(timeout.aborted ? 'was not ready in time' : 'could not be started', error)
  } finally {
    settled.abort()
    // The race is over; that the other wait was given up is no failure.
    ended.catch(() => {})
    ready.destroy()
    child.unref()
  }
  if (child.pid === undefined) throw failed('has no pid')
  return child.pid
}

function tail(file: string): string {
  return readFileSync(file, 'utf8').split('\n').slice(-15).join('\n')
}

/** Whether a process is the daemon that was started with this configuration file, and not another one with its old pid. */
export async function isDaemon(pid: number | null, config: string): Promise<boolean> {
  return pid !== null && (await argvOf(pid)).includes(config)
}

/**
 * Signals a daemon and waits until it is gone, with all that it has open; after a grace time it is killed. A daemon that is gone
 * already is success.
 *
 * @throws OffloadError DEADLINE_EXCEEDED if not even SIGKILL ends it
 */
export async function stopDaemon(pid: number | null, config: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (pid === null) return
  const began = await beganAt(pid)
  const argv = await argvOf(pid)
  // Of a process that is ending there is no command line any more, and still its files, sockets and locks.
  if (began === undefined || !(argv.includes(config) || isEmpty(argv))) return
  if (!isEmpty(argv)) signalProcess(pid, signal)
  const deadline = systemClock.monotonic() + GRACE_MS
  // A process that is not our child raises no event when it ends: its entry in /proc is all there is to look at.
  while ((await beganAt(pid)) === began) {
    const late = systemClock.monotonic() - deadline
    if (late > GRACE_MS) throw new OffloadError('DEADLINE_EXCEEDED', `process ${pid} (${config}) does not end`)
    if (late > 0) signalProcess(pid, 'SIGKILL')
    await systemClock.sleep(10, AbortSignal.timeout(GRACE_MS))
  }
}

async function argvOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
}

const isEmpty = (argv: readonly string[]): boolean => argv.every((argument) => argument === '')

/** When a process began, as the kernel counts; undefined if there is none, or only its exit code is left of it. */
async function beganAt(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It has ended since it was looked at.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
