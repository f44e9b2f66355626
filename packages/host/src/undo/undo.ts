import type { LinuxNet } from '@cni-offload/linux'
import {
  type AttachmentKey,
  formatAttachmentKey,
  formatVfId,
  type HostDevice,
  type Logger,
  OffloadError,
  type VfId,
} from '@cni-offload/sdk'
import type { AgentLink } from '../agent/agent-link.ts'
import type { AttachmentInfo } from '../device-info/attachment-info.ts'
import { hasHostIpam } from '../ipam/conf.ts'
import type { IpamUndo } from '../ipam/ipam-undo.ts'
import type { AttachmentJournal } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { reached } from '../steps.ts'

/** What an {@link Undo} is made of. */
export interface UndoDeps {
  /** Journal. */
  readonly journal: AttachmentJournal
  /** Hardware. */
  readonly device: HostDevice
  /** The agent. */
  readonly agent: Pick<AgentLink, 'detach'>
  /** Device information files. */
  readonly deviceInfo: Pick<AttachmentInfo, 'remove'>
  /** Addresses that were given on this host. */
  readonly ipam: Pick<IpamUndo, 'keep' | 'ending' | 'release'>
  /** Kernel. */
  readonly net: Pick<LinuxNet, 'netnsIdentity'>
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs'>
}

/** What an attachment left behind, as far as undoing it needs to know. */
export interface Remains {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF. */
  readonly vf: VfId
  /** CNI_NETNS as given. */
  readonly netns: string
  /** Identity of that namespace. */
  readonly netnsIdentity: string
}

/** Which sides may have something to undo. */
export interface Sides {
  /** The VF may have left its pristine state. */
  readonly release: boolean
  /** The agent may know the attachment. */
  readonly detach: boolean
}

/** When the agent is told. */
export type Telling = 'now' | 'later'

/** Outcome of one attempt: the sides that are still to be done, and why. */
export interface Left extends Sides {
  /** Why. */
  readonly reason: string
}

/**
 * Undoes attachments. It does not listen to the caller's signal: what has begun to end must end, or the next pod gets a
 * VF that still belongs to another one. Its own time limit ends it.
 */
export class Undo {
  readonly #deps: UndoDeps

  constructor(deps: UndoDeps) {
    this.#deps = deps
  }

  /**
   * Ends an attachment of the journal, on both sides at once. Its end is noted first: whoever finds the row finishes it, and
   * no resync names it any more. Afterwards the row is gone, whatever happened: the VF is free, or it is quarantined and the
   * rest is queued. Nothing is touched if the journal does not have this attachment on this VF (any more): the VF may be
   * another pod's by now.
   *
   * Addresses that were given on this host are given back when both sides are done, here or from the queue: until then the pod may use
   * them.
   *
   * The order of the two does not matter to other pods: the agent disconnects the port before it gives the address away,
   * and the VF goes to nobody before both sides are done.
   *
   * @param telling - `later` leaves the agent to the queue
   * @returns what is left to do, undefined if nothing
   * @throws OffloadError JOURNAL_FAILURE only
   */
  async attachment(row: Remains, sides: Sides, log: Logger, telling: Telling = 'now'): Promise<Left | undefined> {
    const { journal } = this.#deps
    const known = journal.get(row.key)
    if (known === undefined || !holds(known, row)) {
      log.warn({ key: formatAttachmentKey(row.key), vf: formatVfId(row.vf) }, 'not undone: the VF is no longer this attachment’s')
      return undefined
    }
    journal.detaching(row.key)
    reached('host.undo.noted')
    // Before the VF can go to another pod: then it would tell of that one's.
    await this.#deps.deviceInfo.remove(known, log)
    reached('host.undo.file-removed')
    const addressed = hasHostIpam(known.intent)
    if (addressed) this.#deps.ipam.keep(known)
    const left = await this.#attempt(row, sides, log, telling)
    if (left === undefined) {
      const leased = addressed && this.#deps.ipam.ending(row.key)
      journal.free(row.key)
      reached('host.undo.freed')
      if (leased) await this.#deps.ipam.release(row.key, log)
    } else {
      journal.quarantine(row.key, left)
      reached('host.undo.quarantined')
      log.warn({ key: formatAttachmentKey(row.key), vf: formatVfId(row.vf), ...left }, 'VF quarantined')
    }
    return left
  }

  /**
   * Tries again what is queued for one key. Needs the key's lock.
   *
   * @returns what is left to do, undefined if nothing
   */
  async queued(key: AttachmentKey, log: Logger): Promise<Left | undefined> {
    for (const row of this.#deps.journal.queued(key)) {
      const left = await this.#attempt(row, row, log, 'now')
      if (left !== undefined) {
        this.#deps.journal.progress(row.seq, left)
        reached('host.queue.shortened')
        return left
      }
      const leased = this.#deps.ipam.ending(key)
      this.#deps.journal.finish(row.seq)
      reached('host.queue.finished')
      if (leased) await this.#deps.ipam.release(key, log)
      log.info({ key: formatAttachmentKey(key), vf: formatVfId(row.vf) }, 'VF free again')
    }
    return undefined
  }

  async #attempt(of: Remains, sides: Sides, log: Logger, telling: Telling): Promise<Left | undefined> {
    const signal = AbortSignal.timeout(this.#deps.limits.undoMs)
    const [released, detached] = await Promise.all([
      sides.release ? outcome(() => this.#release(of, log, signal)) : undefined,
      sides.detach ? outcome(() => this.#detach(of, telling, signal)) : undefined,
    ])
    if (released === undefined && detached === undefined) return undefined
    const reasons = [released, detached].flatMap((error) => (error === undefined ? [] : [`${error.code}: ${error.message}`]))
    return { release: released !== undefined, detach: detached !== undefined, reason: reasons.join('; ') }
  }

  async #detach(of: Remains, telling: Telling, signal: AbortSignal): Promise<void> {
    if (telling === 'later') throw new OffloadError('AGENT_UNREACHABLE', 'the agent has not been asked yet')
    await this.#deps.agent.detach({ key: of.key, vf: of.vf }, { signal, timeoutMs: this.#deps.limits.undoMs })
    reached('host.undo.detached')
  }

  async #release(of: Remains, log: Logger, signal: AbortSignal): Promise<void> {
    // A path may belong to another namespace by now, of another pod: then ours is gone and the VF with it or back home.
    const ours = of.netns !== '' && (await this.#deps.net.netnsIdentity(of.netns)) === of.netnsIdentity
    await this.#deps.device.release(of.vf, { ...(ours ? { netns: of.netns } : {}), ifName: of.key.ifName }, { signal, log })
    reached('host.undo.released')
  }
}

/** Whether a row of the journal is the very attachment: a key may have come again, on another VF or in another namespace. */
function holds(row: Remains, { vf, netnsIdentity }: Remains): boolean {
  return formatVfId(row.vf) === formatVfId(vf) && row.netnsIdentity === netnsIdentity
}

/** The error of a piece of work, undefined if there is none. */
async function outcome(work: () => Promise<void>): Promise<OffloadError | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    return OffloadError.from(error)
  }
}
