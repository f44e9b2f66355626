import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Clock } from '../contracts/clock.ts'
import type { Logger } from '../contracts/logger.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { deadline } from '../runtime/deadline.ts'

/** Variable in the environment of every plugin that has an owner: who started it. */
export const PLUGIN_OWNER = 'CNI_OFFLOAD_PLUGIN_OWNER'

const LOOK_AGAIN_MS = 10

/** Arguments among which a plugin's own path is: `nsenter --net=… -- path` has it last. */
const PROGRAM_AMONG = 4

/** A process that was killed ends within milliseconds, unless it hangs in the kernel. */
const LIMIT_MS = 10_000

/** What {@link endOrphans} works with. */
export interface OrphansDeps {
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Gives up. */
  readonly signal: AbortSignal
  /** Longest that the plugins may take to end, in milliseconds. @defaultValue 10 000 */
  readonly limitMs?: number
}

/**
 * Kills plugins that outlived the daemon that started them, and waits until they are gone. Without it a plugin whose daemon was
 * killed could finish its ADD after the next daemon has undone it. Whoever runs plugins calls it when it starts, before it undoes or
 * runs anything. What a plugin has started goes with it; a daemon that it left in a session of its own, without the plugin's output,
 * serves running pods and stays.
 *
 * @param owner - as given to the {@link PluginExecutor} that started them; nobody else's are touched
 * @returns how many there were
 * @throws OffloadError DEADLINE_EXCEEDED naming the processes that are still there; the signal's reason
 */
export async function endOrphans(owner: string, { clock, log, signal: caller, limitMs = LIMIT_MS }: OrphansDeps): Promise<number> {
  const signal = deadline(caller, limitMs)
  const [seen, sessions] = [new Set<number>(), new Set<string>()]
  const look = (): Promise<number[]> => pluginsOf(owner, sessions)
  for (let left = await look(); left.length > 0; left = await look()) {
    for (const pid of left) {
      if (!seen.has(pid)) log.warn({ pid }, 'killing a plugin of an earlier run')
      seen.add(pid)
      kill(pid)
    }
    await clock.sleep(LOOK_AGAIN_MS, signal).catch(() => caller.throwIfAborted())
    if (signal.aborted)
      throw new OffloadError(
        'DEADLINE_EXCEEDED',
        `plugins of an earlier run did not end within ${limitMs} ms: processes ${left.join(', ')}`,
        {
          hint: 'They were killed; what hangs in the kernel may need the host to be rebooted. Until they are gone, what they do could not be undone.',
        },
      )
  }
  return seen.size
}

/** Programs of the plugin folders, what still holds a plugin's output open, and what runs in a session of theirs. @param sessions - those that were found; they are added to */
async function pluginsOf(owner: string, sessions: Set<string>): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const entry = `${PLUGIN_OWNER}=${owner}`
  const look = async (pid: number): Promise<{ pid: number; session: string }[]> => {
    const environ = (await readProc(pid, 'environ')).split('\0')
    if (pid === process.pid || !environ.includes(entry)) return []
    const [argv, stat] = await Promise.all([readProc(pid, 'cmdline'), readProc(pid, 'stat')])
    const session = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3] ?? ''
    if (runsPlugin(argv.split('\0'), environ) || (await speaksToUs(pid))) sessions.add(session)
    return [{ pid, session }]
  }
  const owned = (await Promise.all(pids.map(look))).flat()
  return owned.filter(({ session }) => sessions.has(session)).map(({ pid }) => pid)
}

/** Plugins are executed by their path in a folder of CNI_PATH, by themselves, by the interpreter of a script or by nsenter. */
function runsPlugin(argv: readonly string[], environ: readonly string[]): boolean {
  const cniPath = environ.find((variable) => variable.startsWith('CNI_PATH='))?.slice('CNI_PATH='.length)
  const folders = cniPath?.split(':') ?? []
  return argv.slice(0, PROGRAM_AMONG).some((arg) => folders.some((folder) => folder !== '' && join(folder, basename(arg)) === arg))
}

/**
 * Whether somebody holds the output of a plugin open, which Node makes a socket: its run has not ended then, whatever program it has
 * become. A daemon lets go of it, or the plugin's call would never end.
 */
async function speaksToUs(pid: number): Promise<boolean> {
  return (await readlink(`/proc/${pid}/fd/1`).catch(() => '')).startsWith('socket:')
}

async function readProc(pid: number, file: string): Promise<string> {
  return await readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}
