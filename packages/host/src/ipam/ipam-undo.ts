import { type AttachmentKey, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import { type DelegateCall, PluginError } from '@cni-offload/sdk/exec'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import { PluginUndo, type PluginUndoDeps } from '../plugins/plugin-undo.ts'
import { hasHostIpam, ipamConfOf } from './conf.ts'
import type { HostIpamOptions } from './config.ts'
import type { IpamRunner, IpamRunners } from './runners.ts'
import type { IpamJournal, IpamRequest, IpamRow } from './types.ts'

/** What an {@link IpamUndo} is made of. */
export interface IpamUndoDeps extends PluginUndoDeps<IpamRequest> {
  /** Journal. */
  readonly journal: IpamJournal
  /** The attachments that have the addresses. */
  readonly attachments: Pick<AttachmentJournal, 'get' | 'queued'>
  /** What the daemon's configuration says. */
  readonly config: HostIpamOptions
  /** Runs plugins. */
  readonly runners: IpamRunners
}

const STEPS = { noted: 'host.ipam-undo.noted', ended: 'host.ipam-undo.ended', forgotten: 'host.ipam-undo.forgotten' } as const

/** How often a plugin that has refused an ADD may refuse its DEL, too, before it is believed that it holds nothing. */
const REFUSALS = 3

/**
 * Gives addresses back to the IPAM plugins that gave them, once the attachments that had them are over on both sides: until then a pod
 * may still use them. Needs the lock of the attachment's key.
 */
export class IpamUndo extends PluginUndo<IpamRequest> {
  readonly #deps: IpamUndoDeps
  /** `prevResult` of the runtime's DEL, by key: the plugin is to see the same. */
  readonly #told = new Map<string, unknown>()
  /** How often plugins that have refused an ADD may still refuse its DEL, by key. */
  readonly #refused = new Map<string, number>()

  constructor(deps: IpamUndoDeps) {
    super(deps, { what: 'lease of an IPAM plugin', steps: STEPS, del: (row, netns, signal) => this.#del(row, netns, signal) })
    this.#deps = deps
  }

  /** What runs a lease's plugin. It may have moved since. */
  runner({ conf }: Pick<IpamRow, 'conf'>): IpamRunner {
    return this.#deps.runners([...new Set([...conf.binDirs, ...(this.#deps.config.binDirs ?? [])])])
  }

  /** Whether nothing of an attachment is left, so that nobody uses its addresses. */
  isOver(key: AttachmentKey): boolean {
    const { attachments } = this.#deps
    return attachments.get(key) === undefined && attachments.queued(key).length === 0
  }

  /** What is to be told to the plugin when the runtime's DEL was given it. */
  told(key: AttachmentKey, prevResult: unknown): void {
    if (prevResult !== undefined && this.#deps.journal.get(key) !== undefined) this.#told.set(formatAttachmentKey(key), prevResult)
  }

  /** Notes that a plugin has itself refused an ADD. */
  refused(key: AttachmentKey): void {
    this.#refused.set(formatAttachmentKey(key), REFUSALS)
  }

  /** Makes sure that the addresses of an attachment are on record, also where their journal was lost. @throws OffloadError JOURNAL_FAILURE */
  keep(row: AttachmentRow): void {
    const { key, netns, netnsIdentity, bootId, intent } = row
    if (!hasHostIpam(intent) || intent.hostIpam === undefined || this.#deps.journal.get(key) !== undefined) return
    const conf = ipamConfOf(intent, this.#deps.config.binDirs)
    if (conf === undefined) return
    this.#deps.journal.begin({ key, netns, netnsIdentity, bootId, conf })
    this.#deps.journal.added(key, { ...intent.hostIpam, cniVersion: conf.cniVersion })
  }

  /**
   * Notes, before an attachment is forgotten, that its addresses have to be given back: {@link IpamUndo.release} does that then, or
   * whoever finds the note. @returns whether there are any
   *
   * @throws OffloadError JOURNAL_FAILURE
   */
  ending(key: AttachmentKey): boolean {
    if (this.#deps.journal.get(key) === undefined) return false
    this.note(key)
    return true
  }

  /** Gives the addresses of an attachment back that is over. @throws OffloadError JOURNAL_FAILURE only */
  async release(key: AttachmentKey, log: Logger): Promise<void> {
    const row = this.#deps.journal.get(key)
    if (row?.phase === 'ending' && this.isOver(key)) await this.finish(row, log)
  }

  /** The plugin's call for a lease. @param netns - empty where the namespace is gone */
  call({ key, conf }: Pick<IpamRow, 'key' | 'conf'>, netns: string): DelegateCall {
    const { type, cniVersion, netconf, args } = conf
    return { type, cniVersion, netconf, args, containerId: key.containerId, netns, ifName: key.ifName }
  }

  async #del(row: IpamRow, netns: string, signal: AbortSignal): Promise<void> {
    const id = formatAttachmentKey(row.key)
    try {
      await this.runner(row).del(this.call(row, netns), this.#told.get(id), signal)
    } catch (error) {
      const left = this.#refused.get(id)
      if (left === undefined || !(OffloadError.from(error).cause instanceof PluginError)) throw error
      this.#refused.set(id, left - 1)
      // A configuration that the plugin does not take on ADD it does not take on DEL either, and it never will.
      if (left > 1) throw error
    }
    this.#told.delete(id)
    this.#refused.delete(id)
  }
}
