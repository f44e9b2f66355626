import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OffloadError, parseWith, systemClock } from '@cni-offload/sdk'
import { z } from 'zod'
import type { LabNode } from '../../lab/model.ts'

const WITHIN_MS = 60_000
const LOOK_EVERY_MS = 100

const noted = z.object({ pid: z.number().int().min(2) })

/** The process of the control agent of a node's card, as its supervisor has noted it; undefined while there is none. */
export async function controlAgentPid(node: LabNode): Promise<number | undefined> {
  const file = join(dirname(node.agent.journal), 'hardware', 'octep_cp_agent.pid')
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  return text === undefined ? undefined : parseWith(noted, JSON.parse(text), file, 'UNDECODABLE').pid
}

/**
 * Waits until something is so: neither the process of somebody else nor a daemon's STATUS raises an event.
 *
 * @returns milliseconds that it took
 * @throws OffloadError DEADLINE_EXCEEDED that says what was waited for
 */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<number> {
  const began = systemClock.monotonic()
  while (!(await isSo())) {
    if (systemClock.monotonic() - began > WITHIN_MS)
      throw new OffloadError('DEADLINE_EXCEEDED', `${what}: not within ${WITHIN_MS / 1000} s`)
    await systemClock.sleep(LOOK_EVERY_MS, AbortSignal.timeout(WITHIN_MS))
  }
  return systemClock.monotonic() - began
}
