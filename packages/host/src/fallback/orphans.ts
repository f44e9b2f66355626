import { readdir, readFile } from 'node:fs/promises'
import type { Clock, Logger } from '@cni-offload/sdk'

/** Variable in the environment of every plugin that a daemon starts; its value tells daemons apart. */
export const MARKER = 'CNI_OFFLOAD_HOST_STATE'

const LOOK_AGAIN_MS = 10

/**
 * Kills plugins that outlived the daemon that started them, and waits until they are gone. Without it a plugin whose daemon was
 * killed could finish its ADD after the next daemon has undone it.
 *
 * @param marker - of the plugins; nobody else's are touched
 * @returns how many there were
 */
export async function endOrphans(marker: string, deps: { clock: Clock; log: Logger; signal: AbortSignal }): Promise<number> {
  const seen = new Set<number>()
  for (let left = await marked(marker); left.length > 0; left = await marked(marker)) {
    for (const pid of left) {
      if (!seen.has(pid)) deps.log.warn({ pid }, 'killing a plugin of an earlier run')
      seen.add(pid)
      kill(pid)
    }
    await deps.clock.sleep(LOOK_AGAIN_MS, deps.signal)
  }
  return seen.size
}

async function marked(marker: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const entry = `${MARKER}=${marker}`
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
