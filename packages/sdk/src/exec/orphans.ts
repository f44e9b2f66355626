import { readdir, readFile } from 'node:fs/promises'
import type { Clock } from '../contracts/clock.ts'
import type { Logger } from '../contracts/logger.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { deadline } from '../runtime/deadline.ts'

/** Variable in the environment of every plugin that has an owner: who started it. */
export const PLUGIN_OWNER = 'CNI_OFFLOAD_PLUGIN_OWNER'

const LOOK_AGAIN_MS = 10

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
 * runs anything.
 *
 * @param owner - as given to the {@link PluginExecutor} that started them; nobody else's are touched
 * @returns how many there were
 * @throws OffloadError DEADLINE_EXCEEDED naming the processes that are still there; the signal's reason
 */
export async function endOrphans(owner: string, { clock, log, signal: caller, limitMs = LIMIT_MS }: OrphansDeps): Promise<number> {
  const signal = deadline(caller, limitMs)
  const seen = new Set<number>()
  for (let left = await ownedBy(owner); left.length > 0; left = await ownedBy(owner)) {
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

async function ownedBy(owner: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const entry = `${PLUGIN_OWNER}=${owner}`
  const has = async (pid: number): Promise<boolean> =>
    pid !== process.pid && (await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')).split('\0').includes(entry)
  const found = await Promise.all(pids.map(async (pid) => ((await has(pid)) ? [pid] : [])))
  return found.flat()
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ESRCH: it has ended meanwhile.
  }
}
