import type { Clock, Logger, OffloadError } from '@cni-offload/sdk'
import type { AgentEvent, EventHub } from './events.ts'
import type { AgentRecordFile } from './record.ts'

/** Reasons that are kept of one interruption: what goes on for days repeats itself. */
const KEPT_REASONS = 8

/** With what an {@link AgentStanding} tells. */
export interface StandingDeps {
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Who hears of it. */
  readonly hub: EventHub<AgentEvent>
  /** Where it is written down. */
  readonly record: AgentRecordFile
}

/** What is known of a failure beside its reason. */
export interface FailureMore {
  /** What can be done about it. */
  readonly hint?: string
  /** Starts in a row that came to nothing. */
  readonly failures?: number
  /** Milliseconds after which it is started again. */
  readonly pauseMs?: number
}

/** Whether the host can use a control agent, since when, and what had happened: told to those who listen, and written down. */
export class AgentStanding {
  readonly #deps: StandingDeps
  #wasReady = false
  #failures = 0
  /** Of the interruption that lasts. */
  #lost: { readonly at: number; readonly since: string; readonly reasons: string[]; hint?: string | undefined } | undefined

  /** There is no agent yet, which is no interruption: nothing was there that could be. */
  constructor(deps: StandingDeps) {
    this.#deps = deps
    deps.record.set({ state: 'waiting', since: this.#now(), reasons: ['it is being started'], failures: 0 })
  }

  /** The host can use it. */
  ready(pid: number): void {
    const { clock, log, hub, record } = this.#deps
    const lost = this.#lost
    const ms = lost === undefined ? 0 : Math.round(clock.monotonic() - lost.at)
    log.info({ pid, afterMs: ms }, 'the host can use the card')
    const since = this.#now()
    record.set({ state: 'ready', since, pid, ...(lost === undefined ? {} : { before: { reasons: lost.reasons, at: since, ms } }) })
    hub.emit(this.#wasReady ? { kind: 'back', pid, afterMs: ms } : { kind: 'ready', pid })
    this.#wasReady = true
    this.#lost = undefined
    this.#failures = 0
  }

  /** It cannot, or still cannot and something else has happened. Only the first of several reasons is an event. */
  lost(reason: string, { hint, failures = this.#failures, pauseMs }: FailureMore = {}): void {
    const { clock, log, hub, record } = this.#deps
    const first = this.#lost === undefined
    this.#lost ??= { at: clock.monotonic(), since: this.#now(), reasons: [] }
    this.#failures = failures
    const { since, reasons } = this.#lost
    this.#lost.hint = hint
    if (!reasons.includes(reason) && reasons.length < KEPT_REASONS) reasons.push(reason)
    const retryAt = pauseMs === undefined ? {} : { retryAt: new Date(clock.now() + pauseMs).toISOString() }
    record.set({ state: 'waiting', since, reasons: [...reasons], failures, ...retryAt, ...(hint === undefined ? {} : { hint }) })
    if (!first || !this.#wasReady) return
    log.error({ reason }, 'the host cannot use the card')
    hub.emit({ kind: 'lost', reason })
  }

  /** It is there again, and not ready yet. */
  started(): void {
    if (this.#lost === undefined) return
    const { since, reasons, hint } = this.#lost
    this.#deps.record.set({
      state: 'waiting',
      since,
      reasons: [...reasons],
      failures: this.#failures,
      ...(hint === undefined ? {} : { hint }),
    })
  }

  /** Nothing more is tried. */
  givenUp({ message, hint }: OffloadError): void {
    const { reasons, since }: { readonly reasons: readonly string[]; readonly since: string } = this.#lost ?? {
      reasons: [],
      since: this.#now(),
    }
    const all = reasons.includes(message) ? reasons : [...reasons, message]
    this.#deps.record.set({ state: 'given-up', since, reasons: all, ...(hint === undefined ? {} : { hint }) })
  }

  #now(): string {
    return new Date(this.#deps.clock.now()).toISOString()
  }
}
