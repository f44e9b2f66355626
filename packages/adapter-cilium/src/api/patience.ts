import { type Clock, type Logger, OffloadError } from '@cni-offload/sdk'
import { Limiter } from '@cni-offload/sdk/runtime'
import { CiliumApiError } from './api-error.ts'

/** How long a caller bears with an agent that cannot answer now, milliseconds; its signal ends it in any case. */
export interface Patience {
  /** With one that refuses because it is too busy or starting. */
  readonly busyMs: number
  /** With one that is not there. */
  readonly unreachableMs: number
}

/** Takes the first answer, whatever it is. */
export const NO_PATIENCE: Patience = { busyMs: 0, unreachableMs: 0 }

/** Who calls, and how long it is ready to wait. */
export interface Caller {
  /** Ends the call. */
  readonly signal: AbortSignal
  /** Where waiting is told of. */
  readonly log: Logger
  /** How long passing failures are borne with. */
  readonly patience: Patience
}

/** Group of calls that the agent limits together. */
export type CallGroup = 'create' | 'delete' | 'get' | 'list' | 'other'

/**
 * How many calls of a group are under way at the same time. As many as a stock agent works on at once: more would wait inside of
 * it, and those that wait there for too long are refused.
 */
const AT_ONCE: Readonly<Record<CallGroup, number>> = { create: 4, delete: 4, get: 4, list: 2, other: 16 }

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5_000

/** Keeps to the agent's limits and repeats calls that it could not take. */
export class ApiPolicy {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #limiters: Readonly<Record<CallGroup, Limiter>>

  /** @param random - a number from 0 up to 1, anew at each call */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
    this.#limiters = {
      create: new Limiter(AT_ONCE.create),
      delete: new Limiter(AT_ONCE.delete),
      get: new Limiter(AT_ONCE.get),
      list: new Limiter(AT_ONCE.list),
      other: new Limiter(AT_ONCE.other),
    }
  }

  /**
   * Makes a call when its turn comes, and again while the agent is too busy, starting or away and the caller has patience. A call
   * that was perhaps worked on is not repeated.
   *
   * @throws CiliumApiError the last failure; OffloadError CANCELLED or DEADLINE_EXCEEDED, with the last failure as its cause
   */
  async run<T>(group: CallGroup, caller: Caller, call: () => Promise<T>): Promise<T> {
    const begin = this.#clock.monotonic()
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#limiters[group].run(caller.signal, call)
      } catch (error) {
        if (!(error instanceof CiliumApiError)) throw OffloadError.from(error, 'CANCELLED', 'waiting for a turn at cilium-agent')
        await this.#pause(error, attempt, begin, caller)
      }
    }
  }

  async #pause(error: CiliumApiError, attempt: number, begin: number, { signal, log, patience }: Caller): Promise<void> {
    const limit = error.kind === 'unreachable' ? patience.unreachableMs : patience.busyMs
    const pause = this.#jittered(Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS))
    if (!error.passing || this.#clock.monotonic() - begin + pause > limit) throw error
    log.debug({ attempt, pause, why: error.message }, 'cilium-agent cannot answer now; asking again')
    try {
      await this.#clock.sleep(pause, signal)
    } catch (reason) {
      const { code, message } = OffloadError.from(reason, 'CANCELLED')
      throw new OffloadError(code, `${message}; until then: ${error.message}`, {
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      })
    }
  }

  /** Half of it is random, so that many callers do not come back as one burst. */
  #jittered(full: number): number {
    return full / 2 + (this.#random() * full) / 2
  }
}
