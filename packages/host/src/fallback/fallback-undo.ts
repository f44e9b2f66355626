import type { LinuxNet } from '@cni-offload/linux'
import { type AttachmentKey, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import type { HostLimits } from '../limits.ts'
import { reached } from '../steps.ts'
import { listCall } from './call.ts'
import type { FallbackConfig } from './config.ts'
import type { FallbackRunner, FallbackRunners } from './runners.ts'
import type { FallbackJournal, FallbackRow } from './types.ts'

/** What a {@link FallbackUndo} is made of. */
export interface FallbackUndoDeps {
  /** Journal. */
  readonly journal: Pick<FallbackJournal, 'get' | 'end' | 'remove'>
  /** What the daemon's configuration says; absent where it says nothing. */
  readonly config?: Pick<FallbackConfig, 'binDirs'> | undefined
  /** Runs lists. */
  readonly runners: FallbackRunners
  /** Kernel. */
  readonly net: Pick<LinuxNet, 'netnsIdentity'>
  /** Boot of this host. */
  readonly bootId: string
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs'>
  /** Told when something was left to the background. */
  readonly leftToQueue: () => void
}

/** Ends attachments on the host's network with the lists that made them. Needs the lock of the attachment's key. */
export class FallbackUndo {
  readonly #deps: FallbackUndoDeps

  constructor(deps: FallbackUndoDeps) {
    this.#deps = deps
  }

  /** Whether the pod's namespace is still there: its path may belong to another pod by now. */
  async alive(row: FallbackRow): Promise<boolean> {
    return row.bootId === this.#deps.bootId && (await this.#deps.net.netnsIdentity(row.netns)) === row.netnsIdentity
  }

  /** What runs an attachment's list. Its plugins may have moved since it was made. */
  runner({ call }: FallbackRow): FallbackRunner {
    return this.#deps.runners([...new Set([...call.binDirs, ...(this.#deps.config?.binDirs ?? [])])])
  }

  /**
   * Ends an attachment. Its end is noted first, so that whoever finds it goes on with it.
   *
   * @returns why it is left to the background, undefined if it is gone
   * @throws OffloadError JOURNAL_FAILURE only
   */
  async end(row: FallbackRow, log: Logger): Promise<string | undefined> {
    this.#deps.journal.end(row.key)
    reached('host.fallback-undo.noted')
    const left = await this.#attempt(row)
    if (left === undefined) return undefined
    log.warn({ key: formatAttachmentKey(row.key), reason: left }, 'attachment on the host could not be ended, it is tried again')
    this.#deps.leftToQueue()
    return left
  }

  /** Tries again to end an attachment. @returns why it is still there, undefined if it is not */
  async retry(key: AttachmentKey, log: Logger): Promise<{ readonly reason: string } | undefined> {
    const row = this.#deps.journal.get(key)
    if (row?.phase !== 'ending') return undefined
    const reason = await this.#attempt(row)
    if (reason !== undefined) return { reason }
    log.info({ key: formatAttachmentKey(key) }, 'attachment on the host ended')
    return undefined
  }

  /** Does not listen to the caller: what has begun to end must end. Its own time limit ends it. */
  async #attempt(row: FallbackRow): Promise<string | undefined> {
    const { journal, limits } = this.#deps
    try {
      const netns = (await this.alive(row)) ? row.netns : ''
      await this.runner(row).del(listCall(row, netns), row.result, AbortSignal.timeout(limits.undoMs))
      reached('host.fallback-undo.ended')
    } catch (error) {
      const { code, message } = OffloadError.from(error)
      journal.end(row.key, `${code}: ${message}`)
      return `${code}: ${message}`
    }
    journal.remove(row.key)
    reached('host.fallback-undo.forgotten')
    return undefined
  }
}
