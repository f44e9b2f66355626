import type { AttachCall, OffloadApi, ResyncEvent } from '@cni-offload/protocol'
import { type AttachmentKey, type Clock, ERROR_CODES, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import { backoff } from '../backoff.ts'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { attachCall } from './intent.ts'
import { addressesChanged } from './resync.ts'
import { ResyncRound } from './resync-round.ts'

/** What a {@link Resyncer} is made of. */
export interface ResyncerDeps {
  /** The way to the agent. */
  readonly client: Pick<OffloadApi, 'resync'>
  /** What the host has. */
  readonly journal: Pick<AttachmentJournal, 'all' | 'get'>
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'agentMs' | 'resyncMs'>
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
  /** Told what a resync did. */
  readonly observer?: { resynced(event: ResyncEvent): void }
}

const FIRST_RETRY_MS = 1_000

const UPGRADE = 'The agent is of a newer release: upgrade the host daemon.'

/** Brings the agent in line with the journal, one resync at a time. */
export class Resyncer {
  readonly #deps: ResyncerDeps
  /** Attaches under way: the agent may have them, the journal does not know their result yet. */
  readonly #attaching = new Map<string, AttachCall>()
  #round: ResyncRound | undefined

  constructor(deps: ResyncerDeps) {
    this.#deps = deps
  }

  /** Has to enclose an attach: a resync that begins meanwhile must not let the agent take it for a stray. */
  async attaching<T>(call: AttachCall, work: () => Promise<T>): Promise<T> {
    const id = formatAttachmentKey(call.key)
    this.#attaching.set(id, call)
    try {
      return await work()
    } finally {
      this.#attaching.delete(id)
    }
  }

  /**
   * Has to precede a detach: resolves when no resync can make the attachment again behind its back, at once as a rule.
   *
   * @throws OffloadError AGENT_UNREACHABLE after `limits.agentMs`; otherwise the signal's reason
   */
  async detaching(key: AttachmentKey, signal: AbortSignal): Promise<void> {
    if (this.#round === undefined) return
    try {
      await this.#round.ending(key, deadline(signal, this.#deps.limits.agentMs))
    } catch (error) {
      if (signal.aborted) throw error
      throw new OffloadError(
        'AGENT_UNREACHABLE',
        `the agent has not come to attachment ${formatAttachmentKey(key)} in the resync that is under way`,
        { cause: error, hint: 'It is tried again in the background. Does a network plugin on the DPU hang?' },
      )
    }
  }

  /**
   * Tells the agent all that the host has.
   *
   * @returns whether it should be repeated soon: something failed that may work later, or host and agent were at odds
   * @throws OffloadError whatever the agent fails with
   */
  async run(signal: AbortSignal): Promise<boolean> {
    const { client, journal, observer } = this.#deps
    // An attachment that is being undone is left out on purpose: its detach follows, and until then it is a stray.
    const rows = journal.all().filter((row) => row.phase !== 'detaching' && row.result !== undefined)
    const byKey = new Map(rows.map((row) => [formatAttachmentKey(row.key), row]))
    const coming = [...this.#attaching].flatMap(([id, call]) => (byKey.has(id) ? [] : [call]))
    using round = new ResyncRound([...rows.map(wiredCall), ...coming])
    this.#round = round
    try {
      let again = false
      for await (const event of client.resync(round.list(), { signal })) {
        round.reported(event.key)
        observer?.resynced(event)
        this.#report(event, byKey.get(formatAttachmentKey(event.key)))
        again = this.#isUnsettled(event) || again
      }
      return again
    } finally {
      this.#round = undefined
    }
  }

  /**
   * Repeats resyncs until the signal aborts: soon after one that was not all well, with growing pauses, and now and then in
   * any case, because a CNI may lose what it has without the connection to the agent noticing. Never rejects.
   *
   * Calls pass meanwhile, unlike during the resync that follows a new connection: a network that hangs on the DPU would
   * otherwise stop the ADDs of all networks once a minute. `attaching` and `detaching` keep the two apart.
   */
  async repeat(again: boolean, signal: AbortSignal): Promise<void> {
    const { clock, limits, log } = this.#deps
    let failures = again ? 1 : 0
    while (!signal.aborted) {
      try {
        await clock.sleep(failures === 0 ? limits.resyncMs : backoff(failures, FIRST_RETRY_MS, limits.resyncMs), signal)
        failures = (await this.run(signal)) ? failures + 1 : 0
      } catch (error) {
        if (signal.aborted) return
        failures++
        const failure = OffloadError.from(error)
        log.warn({ err: failure, code: failure.code }, 'resync failed and will be repeated')
      }
    }
  }

  /** What the agent did to an attachment may have been overtaken by a call; the next resync then puts it right. */
  #isUnsettled({ key, action, error }: ResyncEvent): boolean {
    if (action === 'failed') return error === undefined || ERROR_CODES[error.code].retryable
    if (action === 'kept') return false
    if (action === 'unknown') return true
    const row = this.#deps.journal.get(key)
    const lives = this.#attaching.has(formatAttachmentKey(key)) || (row?.result !== undefined && row.phase !== 'detaching')
    return lives !== (action === 'reattached')
  }

  #report(event: ResyncEvent, row: AttachmentRow | undefined): void {
    const { log } = this.#deps
    const fields = { key: formatAttachmentKey(event.key), action: event.action }
    if (event.action === 'failed')
      log.error({ ...fields, code: event.error?.code, reason: event.error?.message }, 'attachment could not be brought back on the DPU')
    else if (event.action === 'unknown')
      log.warn(
        { ...fields, code: event.error?.code, reason: event.error?.message, hint: UPGRADE },
        'the agent did what this daemon does not know',
      )
    else if (event.action === 'kept') log.debug(fields, 'resync')
    else log.info(fields, 'resync')
    const changed = row?.result === undefined || event.result === undefined ? undefined : addressesChanged(row.result, event.result)
    if (changed !== undefined)
      log.error({ ...fields, ...changed }, 'the DPU gave a running pod another address: the pod has to be restarted')
  }
}

/** An attachment for the agent's list, with what its pod has: an agent that has lost everything could not know. */
function wiredCall(row: AttachmentRow): AttachCall {
  const { result } = row
  return result === undefined ? attachCall(row, row.vfMac) : { ...attachCall(row, result.mac), had: result }
}
