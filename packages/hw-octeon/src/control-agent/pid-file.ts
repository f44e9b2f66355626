import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { z } from 'zod'

/** A process as it is noted in a file, for the next supervisor. */
export interface NotedProcess {
  /** Its number. */
  readonly pid: number
  /** When it began. */
  readonly started: string
}

const noted = z.object({ pid: z.number().int().min(2), started: z.string().regex(/^\d+$/) })

/** What a file notes; undefined if there is none, or none that can be read: then the process is found in another way. */
export async function readPidFile(machine: Machine, path: string): Promise<NotedProcess | undefined> {
  const text = await ifPresent(machine.read(path))
  if (text === undefined) return undefined
  try {
    return noted.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** Notes a process. */
export async function writePidFile(machine: Machine, path: string, { pid, started }: NotedProcess): Promise<void> {
  await machine.place(path, `${JSON.stringify({ pid, started })}\n`, 0o600)
}
