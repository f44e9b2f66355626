import { type AttachmentKey, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, Netconf } from '@cni-offload/sdk/cni'
import { PluginError, type RawResult } from '@cni-offload/sdk/exec'
import { deadline, KeyedMutex } from '@cni-offload/sdk/runtime'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import type { HostLimits } from '../limits.ts'
import { reached } from '../steps.ts'
import type { VerbContext } from '../verbs/deps.ts'
import { hasHostIpam, ipamConf } from './conf.ts'
import type { HostIpamOptions } from './config.ts'
import type { IpamUndo } from './ipam-undo.ts'
import { ipamResult } from './result.ts'
import type { IpamRunners } from './runners.ts'
import type { IpamConf, IpamJournal, IpamRow } from './types.ts'

/** What {@link HostIpam} is made of. */
export interface HostIpamDeps {
  /** Journal. */
  readonly journal: IpamJournal
  /** The attachments that have the addresses. */
  readonly attachments: Pick<AttachmentJournal, 'addressed' | 'rebuilding'>
  /** What the daemon's configuration says. */
  readonly config: HostIpamOptions
  /** Runs plugins. */
  readonly runners: IpamRunners
  /** Gives back. */
  readonly undo: IpamUndo
  /** Boot of this host. */
  readonly bootId: string
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs' | 'checkMs' | 'statusMs'>
}

type Caller = Pick<CniEnvironment, 'args' | 'path'>

/**
 * Addresses that IPAM plugins give on this host, for networks whose configuration says `hostIPAM`; others never wait for it. Every
 * method that changes a lease needs the lock of its attachment's key.
 */
export class HostIpam {
  readonly #deps: HostIpamDeps
  /** Networks whose GC runs. A plugin would take an address that is given meanwhile for a remnant: it is given afterwards. */
  readonly #collecting = new KeyedMutex()

  constructor(deps: HostIpamDeps) {
    this.#deps = deps
  }

  /** What a network wants; undefined where it gets its addresses elsewhere. @throws OffloadError INVALID_NETCONF */
  conf(netconf: Netconf, caller: Caller): IpamConf | undefined {
    return ipamConf(netconf, caller, this.#deps.config.binDirs)
  }

  /** All leases, oldest first. */
  all(): IpamRow[] {
    return this.#deps.journal.all()
  }

  /**
   * Has addresses given to an attachment that has just got its VF. It is written down before the plugin is run, and what it does is
   * undone with the attachment.
   *
   * @returns the attachment, with what the agent is to be told
   * @throws OffloadError INVALID_NETCONF when the plugin is not there; as of DelegateRunner.add; ADAPTER_FAILED when it gives no address
   */
  async assign(row: AttachmentRow, conf: IpamConf, ctx: VerbContext): Promise<AttachmentRow> {
    const { journal, attachments, runners, undo, bootId } = this.#deps
    const { key, netns, netnsIdentity, intent } = row
    const runner = runners(conf.binDirs)
    await runner.requirePlugin(conf.type).catch((error: unknown) => {
      throw notInstalled(conf.type, OffloadError.from(error))
    })
    while (this.#collecting.isLocked(key.network)) await this.#collecting.run(key.network, ctx.signal, () => undefined)
    const lease = journal.begin({ key, netns, netnsIdentity, bootId, conf })
    reached('host.ipam-add.noted')
    let raw: RawResult
    try {
      raw = await ctx.stages.time('ipam', () => runner.add(undo.call(lease, netns), ctx.signal))
    } catch (error) {
      if (OffloadError.from(error).cause instanceof PluginError) undo.refused(key)
      throw error
    }
    reached('host.ipam-add.made')
    ctx.signal.throwIfAborted()
    const hostIpam = ipamResult(raw, conf)
    journal.added(key, raw)
    reached('host.ipam-add.finished')
    attachments.addressed(key, hostIpam)
    reached('host.ipam-add.addressed')
    return { ...row, intent: { ...intent, hostIpam } }
  }

  /** Makes room for an ADD: what an attachment has left that is over is given back. @throws OffloadError ADAPTER_FAILED */
  async clearRemains(key: AttachmentKey, log: Logger): Promise<void> {
    const row = this.#deps.journal.get(key)
    if (row === undefined) return
    log.warn({ phase: row.phase }, 'giving back addresses that an earlier ADD left')
    const left = await this.#deps.undo.end(row, log)
    if (left !== undefined)
      throw new OffloadError(
        'ADAPTER_FAILED',
        `addresses of an earlier attachment ${formatAttachmentKey(key)} could not be given back yet: ${left}`,
        { hint: 'It is tried again in the background; the runtime may try again too.' },
      )
  }

  /** Takes note of what the runtime says on DEL: the plugin is told the same. */
  told(key: AttachmentKey, netconf: Netconf): void {
    this.#deps.undo.told(key, netconf.raw['prevResult'] ?? undefined)
  }

  /** Gives back what is left of an attachment that is over; nothing where it is not, or there is nothing. @throws OffloadError JOURNAL_FAILURE only */
  async end(key: AttachmentKey, log: Logger): Promise<void> {
    const row = this.#deps.journal.get(key)
    if (row !== undefined && this.#deps.undo.isOver(key)) await this.#deps.undo.end(row, log)
  }

  /**
   * Lets the plugin compare what it holds with what the runtime knows.
   *
   * @throws OffloadError CHECK_FAILED, DEADLINE_EXCEEDED, CANCELLED
   */
  async check(row: AttachmentRow, env: CniEnvironment, netconf: Netconf, ctx: VerbContext): Promise<void> {
    if (!hasHostIpam(row.intent)) return
    const { journal, undo, limits } = this.#deps
    const name = formatAttachmentKey(row.key)
    undo.keep(row)
    const lease = journal.get(row.key)
    if (lease?.phase !== 'added') throw new OffloadError('CHECK_FAILED', `attachment ${name} has no addresses of an IPAM plugin`)
    try {
      const signal = deadline(ctx.signal, limits.checkMs)
      const { prevResult } = netconf.raw
      await ctx.stages.time('ipam', () => undo.runner(lease).check(undo.call(lease, env.netns), prevResult, signal))
    } catch (error) {
      const failure = OffloadError.from(error)
      if (!(failure.cause instanceof PluginError)) throw failure
      throw new OffloadError('CHECK_FAILED', `attachment ${name}: ${failure.message}`, { cause: failure })
    }
  }

  /** Whether the plugin of a network could give addresses now. @throws OffloadError NOT_READY, LIMITED_CONNECTIVITY, INVALID_NETCONF */
  async status(netconf: Netconf, caller: Caller, ctx: VerbContext): Promise<void> {
    const conf = this.conf(netconf, caller)
    if (conf === undefined) return
    const signal = deadline(ctx.signal, this.#deps.limits.statusMs)
    await ctx.stages.time('ipam', () => this.#deps.runners(conf.binDirs).status(conf, signal))
  }

  /**
   * Lets the plugin of a network forget what no attachment has, if it knows GC (1.1.0). What the runtime does not list any more but may
   * still be in use, because its end is not done on both sides, is kept.
   *
   * @throws OffloadError as of DelegateRunner.gc
   */
  async gc(netconf: Netconf, caller: Caller, ctx: VerbContext): Promise<void> {
    const { journal, runners, limits } = this.#deps
    const conf = confOf(() => this.conf(netconf, caller))
    if (conf === undefined) return
    const signal = deadline(ctx.signal, limits.undoMs)
    await this.#collecting.run(netconf.name, signal, async () => {
      const held = journal.of(netconf.name).map(({ key }) => key)
      const full = { ...conf, netconf: withValid(conf.netconf, netconf.validAttachments ?? [], held) }
      await ctx.stages.time('ipam', () => runners(conf.binDirs).gc(full, signal))
    })
  }

  /** Leases of a network that no attachment has, oldest first. */
  strays(network: string): AttachmentKey[] {
    const { journal, undo } = this.#deps
    return journal.of(network).flatMap(({ key, phase }) => (phase === 'added' && undo.isOver(key) ? [key] : []))
  }

  /**
   * Hands what a crash or a reboot left to the background. What is left of attachments follows them. Where the attachment is not known
   * any more, but its sandbox is there, the pod may run: until the runtime ends it, it keeps its addresses.
   *
   * @returns how many leases are ended
   */
  async recover(): Promise<number> {
    const { journal, undo, attachments } = this.#deps
    let ends = 0
    for (const row of journal.all()) {
      if (!undo.isOver(row.key)) continue
      const runs = row.phase === 'added' && (attachments.rebuilding || (await undo.alive(row)))
      if (row.phase !== 'ending' && !runs) journal.end(row.key, 'the daemon ended, or the host was rebooted')
      if (!runs) ends++
    }
    return ends
  }
}

const LISTS = ['cni.dev/valid-attachments', 'cni.dev/attachments'] as const

/** A configuration whose list of valid attachments has all that is held, too; as it came where it has that already. */
function withValid(
  netconf: IpamConf['netconf'],
  valid: NonNullable<Netconf['validAttachments']>,
  held: readonly AttachmentKey[],
): IpamConf['netconf'] {
  const missing = held.filter(({ containerId, ifName }) => !valid.some((one) => one.containerId === containerId && one.ifName === ifName))
  if (missing.length === 0) return netconf
  const list = [...valid, ...missing].map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }))
  return { ...netconf, ...Object.fromEntries(LISTS.map((name) => [name, list])) }
}

/** A configuration that somebody broke meanwhile must not keep attachments from being ended. */
function confOf(conf: () => IpamConf | undefined): IpamConf | undefined {
  try {
    return conf()
  } catch {
    return undefined
  }
}

/** The code is not that of "not ready": without somebody's help it never will be, and that one is for STATUS. */
function notInstalled(type: string, { message, hint }: OffloadError): OffloadError {
  return new OffloadError('INVALID_NETCONF', `ipam.type = ${JSON.stringify(type)}: ${message}`, hint === undefined ? {} : { hint })
}
