import type { LinuxNet } from '@cni-offload/linux'
import { type AttachmentKey, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import type { HostLimits } from '../limits.ts'
import { type HostStep, reached } from '../steps.ts'
import type { PluginJournal, PluginRequest, PluginRow } from './types.ts'

/** What a {@link PluginUndo} is made of. */
export interface PluginUndoDeps<R extends PluginRequest> {
  /** Journal. */
  readonly journal: Pick<PluginJournal<R>, 'get' | 'end' | 'remove'>
  /** Kernel. */
  readonly net: Pick<LinuxNet, 'netnsIdentity'>
  /** Boot of this host. */
  readonly bootId: string
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs'>
  /** Told when something was left to the background. */
  readonly leftToQueue: () => void
}

/** What differs between those who end. */
export interface PluginEnd<R extends PluginRequest> {
  /** What is ended, for the log: `attachment on the host`. */
  readonly what: string
  /** Steps: its end was noted, the plugins have ended it, it was forgotten. */
  readonly steps: { readonly noted: HostStep; readonly ended: HostStep; readonly forgotten: HostStep }
  /** DEL of its plugins. @param netns - empty where the namespace is gone */
  del(row: PluginRow<R>, netns: string, signal: AbortSignal): Promise<void>
}

/** Ends what plugins have made with the plugins that made it. Needs the lock of the attachment's key. */
export class PluginUndo<R extends PluginRequest> {
  readonly #deps: PluginUndoDeps<R>
  readonly #end: PluginEnd<R>

  constructor(deps: PluginUndoDeps<R>, end: PluginEnd<R>) {
    this.#deps = deps
    this.#end = end
  }

  /** Whether the pod's namespace is still there: its path may belong to another pod by now. */
  async alive(row: PluginRow<R>): Promise<boolean> {
    return row.bootId === this.#deps.bootId && (await this.#deps.net.netnsIdentity(row.netns)) === row.netnsIdentity
  }

  /**
   * Ends an attachment. Its end is noted first, so that whoever finds it goes on with it.
   *
   * @returns why it is left to the background, undefined if it is gone
   * @throws OffloadError JOURNAL_FAILURE only
   */
  async end(row: PluginRow<R>, log: Logger): Promise<string | undefined> {
    this.note(row.key)
    return await this.finish(row, log)
  }

  /** Notes that an attachment's end has begun. @throws OffloadError JOURNAL_FAILURE */
  protected note(key: AttachmentKey): void {
    this.#deps.journal.end(key)
    reached(this.#end.steps.noted)
  }

  /** Does what {@link PluginUndo.note} has noted, as {@link PluginUndo.end} does. */
  protected async finish(row: PluginRow<R>, log: Logger): Promise<string | undefined> {
    const left = await this.#attempt(row)
    if (left === undefined) return undefined
    log.warn({ key: formatAttachmentKey(row.key), reason: left }, `${this.#end.what} could not be ended, it is tried again`)
    this.#deps.leftToQueue()
    return left
  }

  /** Tries again to end an attachment. @returns why it is still there, undefined if it is not */
  async retry(key: AttachmentKey, log: Logger): Promise<{ readonly reason: string } | undefined> {
    const row = this.#deps.journal.get(key)
    if (row?.phase !== 'ending') return undefined
    const reason = await this.#attempt(row)
    if (reason !== undefined) return { reason }
    log.info({ key: formatAttachmentKey(key) }, `${this.#end.what} ended`)
    return undefined
  }

  /** Does not listen to the caller: what has begun to end must end. Its own time limit ends it. */
  async #attempt(row: PluginRow<R>): Promise<string | undefined> {
    const { journal, limits } = this.#deps
    try {
      const netns = (await this.alive(row)) ? row.netns : ''
      await this.#end.del(row, netns, AbortSignal.timeout(limits.undoMs))
      reached(this.#end.steps.ended)
    } catch (error) {
      const { code, message } = OffloadError.from(error)
      journal.end(row.key, `${code}: ${message}`)
      return `${code}: ${message}`
    }
    journal.remove(row.key)
    reached(this.#end.steps.forgotten)
    return undefined
  }
}
