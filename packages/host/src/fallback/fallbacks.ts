import type { LinuxNet } from '@cni-offload/linux'
import { type AttachmentKey, formatAttachmentKey, type Logger, OffloadError, type PodIdentity } from '@cni-offload/sdk'
import type { CniEnvironment, CniResult, Netconf } from '@cni-offload/sdk/cni'
import { decodeRaw, type RawResult } from '@cni-offload/sdk/exec'
import { deadline, KeyedMutex } from '@cni-offload/sdk/runtime'
import type { HostLimits } from '../limits.ts'
import { reached } from '../steps.ts'
import type { VerbContext } from '../verbs/deps.ts'
import { appendResult } from '../wiring/append-result.ts'
import { resolver } from '../wiring/result.ts'
import { cniArguments, listCall } from './call.ts'
import { DEFAULT_BIN_DIRS } from '../plugins/per-folders.ts'
import type { FallbackConfig } from './config.ts'
import { type FallbackPlan, type FallbackReason, planFallback, refuseUndeclared } from './plan.ts'
import type { FallbackUndo } from './fallback-undo.ts'
import type { FallbackRunners } from './runners.ts'
import type { FallbackJournal, FallbackRow } from './types.ts'

/** What {@link Fallbacks} is made of. */
export interface FallbacksDeps {
  /** Journal. */
  readonly journal: FallbackJournal
  /** What the daemon's configuration says; absent where it says nothing. */
  readonly config?: FallbackConfig | undefined
  /** Runs lists. */
  readonly runners: FallbackRunners
  /** Kernel. */
  readonly net: Pick<LinuxNet, 'netnsIdentity' | 'link'>
  /** Boot of this host. */
  readonly bootId: string
  /** Waiting times. */
  readonly limits: Pick<HostLimits, 'undoMs' | 'checkMs' | 'statusMs'>
  /** Told each attachment that was made. */
  readonly observer: { added(reason: FallbackReason): void }
}

/** An ADD that goes to the host. */
export interface FallbackAdd {
  /** What holds for the pod. */
  readonly plan: FallbackPlan
  /** Why it is not offloaded. */
  readonly reason: FallbackReason
  /** What kept it from being offloaded. */
  readonly cause?: OffloadError | undefined
  /** The runtime's variables. */
  readonly env: CniEnvironment
  /** The runtime's configuration. */
  readonly netconf: Netconf
  /** Identity of the pod's namespace. */
  readonly netnsIdentity: string
  /** Whose interface it is. */
  readonly pod: PodIdentity
}

/**
 * Attachments whose network an ordinary CNI plugin list makes on the host. They have no VF and the agent does not know them; they
 * stay as they are until their pods end. Every method that changes one needs the lock of its key.
 */
export class Fallbacks {
  readonly #deps: FallbacksDeps
  readonly #undo: FallbackUndo
  /** Lists whose GC runs, by name. Its plugins would take an attachment that is begun meanwhile for a remnant: they are not told of it. */
  readonly #collecting = new KeyedMutex()

  constructor(deps: FallbacksDeps, undo: FallbackUndo) {
    this.#deps = deps
    this.#undo = undo
  }

  /** What holds for a network or a pod. @throws OffloadError as of {@link planFallback} */
  plan(netconf: Netconf): FallbackPlan | undefined {
    return planFallback(this.#deps.config, netconf)
  }

  /** One attachment, undefined if there is none on the host. */
  get(key: AttachmentKey): FallbackRow | undefined {
    return this.#deps.journal.get(key)
  }

  /** All, oldest first. */
  all(): FallbackRow[] {
    return this.#deps.journal.all()
  }

  /**
   * Gives a pod the network of the host. It is written down before a plugin acts, with the exact list, and what plugins have done is
   * undone by them if it fails for any reason.
   *
   * @returns the list's result, behind that of the previous plugin
   * @throws OffloadError UNSUPPORTED_FIELD, NOT_READY, ALREADY_EXISTS, ADAPTER_FAILED, DEADLINE_EXCEEDED, CANCELLED
   */
  async add(of: FallbackAdd, ctx: VerbContext): Promise<CniResult> {
    const { plan, reason, env, netconf } = of
    const { journal, net, observer } = this.#deps
    refuseUndeclared(plan.list, netconf.runtimeConfig)
    const key = { network: netconf.name, containerId: env.containerId, ifName: env.ifName }
    const call = {
      list: plan.list,
      binDirs: this.#deps.config?.binDirs ?? DEFAULT_BIN_DIRS,
      args: env.args,
      runtimeConfig: netconf.runtimeConfig,
      ...cniArguments(netconf.raw['args']),
    }
    const runner = this.#deps.runners(call.binDirs)
    await runner.requirePlugins(call.list)
    // Undoing a failed ADD would remove a stranger's interface: plugins go by its name.
    if ((await net.link(env.netns, env.ifName)) !== undefined)
      throw new OffloadError('ALREADY_EXISTS', `CNI_IFNAME = ${env.ifName} exists already in ${env.netns}`, {
        hint: 'Another plugin of the list, or an earlier attachment, has made an interface of that name.',
      })
    const { netnsIdentity, pod } = of
    while (this.#collecting.isLocked(call.list.name)) await this.#collecting.run(call.list.name, ctx.signal, () => undefined)
    const row = journal.begin({ key, reason, netns: env.netns, netnsIdentity, bootId: this.#deps.bootId, pod, call })
    reached('host.fallback-add.noted')
    try {
      const raw = await ctx.stages.time('fallback', () => runner.add(listCall(row, row.netns), ctx.signal))
      reached('host.fallback-add.made')
      ctx.signal.throwIfAborted()
      const result = resultOf(raw, row, netconf)
      journal.added(key, raw)
      reached('host.fallback-add.finished')
      observer.added(reason)
      ctx.log.warn(
        { reason, list: call.list.name, cause: of.cause?.message },
        'pod is not offloaded: it has the network of the host until it ends',
      )
      return result
    } catch (error) {
      const failure = OffloadError.from(ctx.signal.aborted ? ctx.signal.reason : error, 'INTERNAL', `ADD ${formatAttachmentKey(key)}`)
      ctx.log.warn({ reason, err: error, code: failure.code }, 'ADD on the host failed, undoing it')
      await ctx.stages
        .time('undo', () => this.#undo.end(row, ctx.log))
        .catch((broken: unknown) => {
          // The journal failed. The row stays, so that the runtime's DEL or the next start undoes it; why the ADD failed matters more.
          ctx.log.error({ err: broken }, 'a failed ADD on the host could not be undone')
        })
      throw new OffloadError(failure.code, `network of the host (${because(of)}): ${failure.message}`, {
        cause: failure,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      })
    }
  }

  /**
   * The result of an attachment that was made in a namespace not before a time, as its ADD has answered it; undefined if there is none.
   *
   * @param since - milliseconds since the epoch
   */
  madeSince(key: AttachmentKey, netnsIdentity: string, since: number, netconf: Netconf): CniResult | undefined {
    const row = this.#deps.journal.get(key)
    if (row?.phase !== 'added' || row.result === undefined || row.bootId !== this.#deps.bootId) return undefined
    return row.netnsIdentity === netnsIdentity && row.createdAt >= since ? resultOf(row.result, row, netconf) : undefined
  }

  /** Makes room for an ADD: what is left of a dead attachment is ended. @throws OffloadError ALREADY_EXISTS, ADAPTER_FAILED */
  async clearRemains(key: AttachmentKey, log: Logger): Promise<void> {
    const row = this.#deps.journal.get(key)
    if (row === undefined) return
    const name = formatAttachmentKey(key)
    if (row.phase === 'added' && (await this.#undo.alive(row)))
      throw new OffloadError('ALREADY_EXISTS', `attachment ${name} exists already, with the network of the host in ${row.netns}`, {
        hint: 'The runtime must call DEL before it calls ADD again.',
      })
    log.warn({ phase: row.phase }, 'undoing what an earlier ADD left on the host')
    const left = await this.#undo.end(row, log)
    if (left !== undefined)
      throw new OffloadError('ADAPTER_FAILED', `an earlier attachment ${name} could not be undone yet: ${left}`, {
        hint: 'It is tried again in the background; the runtime may try again too.',
      })
  }

  /**
   * Ends an attachment with the list that made it; one that is not there is success. What plugins refuse now is tried again in the
   * background until they do it.
   *
   * @throws OffloadError JOURNAL_FAILURE only
   */
  async end(key: AttachmentKey, log: Logger): Promise<void> {
    const row = this.#deps.journal.get(key)
    if (row !== undefined) await this.#undo.end(row, log)
  }

  /**
   * Lets the list compare the pod with its result.
   *
   * @throws OffloadError CHECK_FAILED, DEADLINE_EXCEEDED, CANCELLED
   */
  async check(row: FallbackRow, env: CniEnvironment, ctx: VerbContext): Promise<void> {
    const name = formatAttachmentKey(row.key)
    const { phase, result } = row
    if (phase !== 'added' || result === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${name} is not known`)
    const { net, limits } = this.#deps
    if ((await net.netnsIdentity(env.netns)) !== row.netnsIdentity)
      throw new OffloadError('CHECK_FAILED', `attachment ${name}: CNI_NETNS = ${env.netns} is not the namespace that it was made in`)
    if ((await net.link(env.netns, env.ifName)) === undefined)
      throw new OffloadError('CHECK_FAILED', `attachment ${name}: there is no interface ${env.ifName} in ${env.netns}`)
    try {
      const signal = deadline(ctx.signal, limits.checkMs)
      await ctx.stages.time('fallback', () => this.#undo.runner(row).check(listCall(row, env.netns), result, signal))
    } catch (error) {
      const failure = OffloadError.from(error)
      if (failure.code !== 'ADAPTER_FAILED') throw failure
      throw new OffloadError('CHECK_FAILED', `attachment ${name}: ${failure.message}`, { cause: failure })
    }
  }

  /** Whether the plan's list could serve an ADD now. @throws OffloadError NOT_READY, LIMITED_CONNECTIVITY */
  async status({ list }: FallbackPlan, ctx: VerbContext): Promise<void> {
    const { runners, config, limits } = this.#deps
    const runner = runners(config?.binDirs ?? DEFAULT_BIN_DIRS)
    try {
      await ctx.stages.time('fallback', () => runner.status(list, deadline(ctx.signal, limits.statusMs)))
    } catch (error) {
      const failure = OffloadError.from(error)
      const code = failure.code === 'LIMITED_CONNECTIVITY' ? failure.code : 'NOT_READY'
      throw new OffloadError(code, `network of the host: ${failure.message}`, {
        cause: failure,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      })
    }
  }

  /**
   * Lets the list of a network forget what no attachment has, if it knows GC (1.1.0). A list may serve several networks, so it is
   * told what all of them have.
   *
   * @throws OffloadError as of ListRunner.gc
   */
  async gc(netconf: Netconf, ctx: VerbContext): Promise<void> {
    const { runners, config, journal, limits } = this.#deps
    const list = listOf(() => this.plan(netconf))
    if (list === undefined) return
    const signal = deadline(ctx.signal, limits.undoMs)
    await this.#collecting.run(list.name, signal, async () => {
      const rows = journal.all().filter((row) => row.call.list.name === list.name)
      const valid = rows.map(({ key }) => key)
      await runners(config?.binDirs ?? DEFAULT_BIN_DIRS).gc(list, valid, signal)
    })
  }

  /** Attachments of a network that the runtime was told to have, oldest first. */
  keysOf(network: string): AttachmentKey[] {
    const rows = this.#deps.journal.all()
    return rows.filter((row) => row.key.network === network && row.phase === 'added').map(({ key }) => key)
  }

  /** Hands what a crash or a reboot left to the background. @returns how many attachments there were */
  recover(): number {
    const { journal, bootId } = this.#deps
    const remains = journal.all().filter((row) => row.phase !== 'added' || row.bootId !== bootId)
    for (const row of remains)
      if (row.phase !== 'ending')
        journal.end(row.key, row.bootId === bootId ? 'the daemon ended while it was made' : 'the host was rebooted')
    return remains.length
  }
}

/** What the runtime is told: the list's result behind that of the previous plugin. */
function resultOf(raw: RawResult, { call }: Pick<FallbackRow, 'call'>, { prevResult, runtimeConfig }: Netconf): CniResult {
  const own = decodeRaw(raw, call.list)
  return appendResult(prevResult, { ...own, dns: { ...own.dns, ...resolver(runtimeConfig) } })
}

function because({ reason, cause }: FallbackAdd): string {
  return cause === undefined ? reason : `${reason}: ${cause.message}`
}

/** A configuration that somebody broke meanwhile must not keep pods from being deleted. */
function listOf(plan: () => FallbackPlan | undefined): FallbackPlan['list'] | undefined {
  try {
    return plan()?.list
  } catch {
    return undefined
  }
}
