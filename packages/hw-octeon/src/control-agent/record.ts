import { dirname, join } from 'node:path'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { type Logger, OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** A time without a control agent that the host could use, and what had happened. */
export interface AgentInterruption {
  /** What had happened, in order. */
  readonly reasons: readonly string[]
  /** When it was over, ISO 8601. */
  readonly at: string
  /** How long it was, milliseconds. */
  readonly ms: number
}

/** How a control agent is, as its supervisor writes it down for others. */
export type AgentRecord =
  /** The host can use the card. */
  | { readonly state: 'ready'; readonly since: string; readonly pid: number; readonly before?: AgentInterruption | undefined }
  /** It cannot: the agent does not run, or is not ready. */
  | {
      readonly state: 'waiting'
      readonly since: string
      /** Why, in order. */
      readonly reasons: readonly string[]
      /** What can be done about the last of them. */
      readonly hint?: string | undefined
      /** Starts in a row that came to nothing. */
      readonly failures: number
      /** When it is started again, ISO 8601; undefined while it runs. */
      readonly retryAt?: string | undefined
    }
  /** It cannot, and nothing is tried until somebody has changed something. */
  | { readonly state: 'given-up'; readonly since: string; readonly reasons: readonly string[]; readonly hint?: string | undefined }

const reasons = z.array(z.string().min(1)).min(1)

const schema: z.ZodType<AgentRecord> = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('ready'),
    since: z.iso.datetime(),
    pid: z.int().min(2),
    before: z.object({ reasons, at: z.iso.datetime(), ms: z.number().min(0) }).optional(),
  }),
  z.object({
    state: z.literal('waiting'),
    since: z.iso.datetime(),
    reasons,
    hint: z.string().optional(),
    failures: z.int().min(0),
    retryAt: z.iso.datetime().optional(),
  }),
  z.object({ state: z.literal('given-up'), since: z.iso.datetime(), reasons, hint: z.string().optional() }),
])

/** Where a supervisor whose process is noted in `pidFile` writes its record. */
export function agentRecordFile(pidFile: string): string {
  return join(dirname(pidFile), 'octep_cp_agent.json')
}

/** Reads a record; undefined where there is none. @throws OffloadError UNDECODABLE, IO_FAILURE */
export async function readAgentRecord(machine: Machine, path: string): Promise<AgentRecord | undefined> {
  const text = await ifPresent(machine.read(path)).catch((error: unknown) => {
    throw OffloadError.from(error, 'IO_FAILURE', path)
  })
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `${path} is no JSON`, { cause: error, hint: 'The DPU daemon writes it anew when it starts.' })
  }
  return parseWith(schema, value, path, 'UNDECODABLE')
}

/** Writes records in order, the newest one of those that wait: nobody reads what was before. A record helps others only, and stops nothing. */
export class AgentRecordFile {
  readonly #machine: Machine
  readonly #path: string
  readonly #log: Logger
  #next: AgentRecord | undefined
  #writing: Promise<void> | undefined

  /** Writes nothing yet. */
  constructor(machine: Machine, path: string, log: Logger) {
    this.#machine = machine
    this.#path = path
    this.#log = log
  }

  /** Takes a record. */
  set(record: AgentRecord): void {
    this.#next = record
    this.#writing ??= this.#write()
  }

  /** Waits until all is written. @param keep - whether the record outlives its writer, as what it says does */
  async close(keep: boolean): Promise<void> {
    await this.#writing
    if (!keep) await this.#noted(() => this.#machine.remove(this.#path))
  }

  async #write(): Promise<void> {
    for (let record = this.#next; record !== undefined; record = this.#next) {
      const text = `${JSON.stringify(record)}\n`
      this.#next = undefined
      await this.#noted(() => this.#machine.place(this.#path, text, 0o600))
    }
    this.#writing = undefined
  }

  async #noted(change: () => Promise<void>): Promise<void> {
    await change().catch((error: unknown) => this.#log.warn({ err: error, path: this.#path }, 'how the control agent is cannot be written'))
  }
}
