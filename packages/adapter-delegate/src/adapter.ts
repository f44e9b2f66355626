import { isDeepStrictEqual } from 'node:util'
import type { LinuxNet } from '@cni-offload/linux'
import { Proxies, type ProxyOptions, Splice } from '@cni-offload/linux/splice'
import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
  type Clock,
  type CniAdapter,
  type DetachRequest,
  formatAttachmentKey,
  formatVfId,
  type KnownAttachment,
  OffloadError,
  type OpContext,
  type PortRef,
  type RememberedAttachment,
} from '@cni-offload/sdk'
import { listCapabilities, PluginError, type PluginList, type PluginListSource } from '@cni-offload/sdk/exec'
import { Buildup } from './attachment/buildup.ts'
import { plannedAttachment, refuseUnsupported } from './attachment/planned.ts'
import { listCall, podAddresses, sameAddresses, withAgain } from './attachment/stored.ts'
import { Teardown } from './attachment/teardown.ts'
import type { PluginRunner } from './plugin-runner.ts'
import { reached } from './steps.ts'
import type { AttachmentStore, StoredAttachment } from './state/attachment-store.ts'

/** What a {@link DelegateAdapter} is made of. */
export interface DelegateParts {
  /** Name of the adapter. */
  readonly name: string
  /** Network operations; disposed with the adapter. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** Its attachments; disposed with the adapter. */
  readonly store: AttachmentStore
  /** Where the plugin list comes from. */
  readonly source: PluginListSource
  /** What runs plugin lists. */
  readonly runner: PluginRunner
  /** Ends plugins that outlived the run that started them. */
  readonly endOrphans: (ctx: OpContext) => Promise<unknown>
  /** Where proxy namespaces are made. */
  readonly proxies: ProxyOptions
  /** Whether whoever calls makes sure of the encryption that a request asks for; false by default, and such requests are refused. */
  readonly encrypts?: boolean
}

/** How often an attachment is made anew for plugins that find it damaged, until they have found it well again. */
const TIMES_ANEW = 3

/**
 * Runs a stock CNI plugin list against proxy namespaces on the DPU, and splices what the list makes there to the ports of
 * the VFs. The CNI believes that the pod is local.
 */
export class DelegateAdapter implements CniAdapter {
  readonly name: string
  readonly specVersion = 'v1'
  readonly #net: LinuxNet
  readonly #store: AttachmentStore
  readonly #source: PluginListSource
  readonly #runner: PluginRunner
  readonly #endOrphans: DelegateParts['endOrphans']
  readonly #proxies: Proxies
  readonly #encrypts: boolean
  readonly #teardown: Teardown
  readonly #buildup: Buildup
  /** Attachments that the plugins found damaged when they were asked last, and how often they were made anew for it since they were well. */
  readonly #damaged = new Map<string, number>()

  /** Makes nothing yet. */
  constructor(parts: DelegateParts) {
    this.name = parts.name
    this.#net = parts.net
    this.#store = parts.store
    this.#source = parts.source
    this.#runner = parts.runner
    this.#endOrphans = parts.endOrphans
    this.#proxies = new Proxies(parts.net, parts.proxies)
    this.#encrypts = parts.encrypts ?? false
    this.#teardown = new Teardown({ ...parts, proxies: this.#proxies })
    this.#buildup = new Buildup({ ...parts, proxies: this.#proxies, teardown: this.#teardown, home: parts.proxies.home })
  }

  /** As the list that was loaded last declares them. */
  get capabilities(): AdapterCapabilities {
    const runtimeConfig = listCapabilities(this.#source.current)
    return { families: ['ipv4', 'ipv6'], runtimeConfig, fixedMac: runtimeConfig.includes('mac') }
  }

  /**
   * Moves all ports into their proxy namespaces: the kernel needs 12–20 ms for each, which no attach should wait for. Ports that
   * are shared with other adapters are moved with each attach and detach.
   *
   * @throws OffloadError DEADLINE_EXCEEDED when plugins of an earlier run do not end, although they were killed
   */
  async start(ports: readonly PortRef[], ctx: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    await this.#endOrphans(ctx)
    const list = await this.#source.load().catch((error: unknown) => ctx.log.warn({ error }, 'there is no usable plugin list yet'))
    if (list !== undefined) this.#takeOver(known, list, ctx)
    // Those that are there already say whose they are; one that is missing may be plugged in later.
    await Promise.all(
      ports.map(async (port) => {
        try {
          await (port.shared === true ? this.#teardown.letGo(port) : this.#proxies.of(port).ready())
        } catch (error) {
          if (!OffloadError.is(error) || error.code !== 'HARDWARE_FAILURE') throw error
          ctx.log.warn({ port: port.name, error }, 'port is missing; it is looked for again at its next attach')
        }
      }),
    )
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    refuseUnsupported(req, this.#encrypts)
    if (ctx.signal.aborted) throw OffloadError.from(ctx.signal.reason, 'CANCELLED', 'attach')
    const id = formatAttachmentKey(req.key)
    const known = this.#store.get(req.key)
    const had = req.had === undefined ? undefined : podAddresses(req.had)
    const here = known !== undefined && sameVf(known.port, req.port) ? known : undefined
    const complete = here?.result
    const wanted = complete !== undefined && (had === undefined || sameAddresses(podAddresses(complete), had))
    const forwards = wanted && (await this.#buildup.restore(req, complete))
    if (here !== undefined && forwards && (await this.#stands(here, ctx))) {
      await this.#buildup.announce(here, ctx.log)
      return complete
    }

    const proxy = this.#proxies.of(req.port)
    const list = await this.#source.load()
    await this.#runner.requirePlugins(list)
    const found = known?.found === true && isDeepStrictEqual(known.list, list)
    const kept = known?.kept
    const attachment = { ...plannedAttachment(req, list), ...(found ? { found } : {}), ...(kept === undefined ? {} : { kept }) }
    const again = await this.#buildup.clear(attachment, proxy, known, { had, forwards })
    this.#store.put(withAgain(attachment, again))
    reached('delegate.attach.noted')
    if (known !== undefined && !sameVf(known.port, req.port)) await this.#teardown.letGo(known.port)
    try {
      const result = await this.#buildup.add(attachment, proxy, again, ctx)
      if (forwards) this.#damaged.set(id, (this.#damaged.get(id) ?? 0) + 1)
      return result
    } catch (error) {
      await (again === undefined ? this.#teardown.undoFailed(attachment, error, ctx) : this.#teardown.putOff(proxy, error, ctx))
      throw error
    }
  }

  async detach(req: DetachRequest, ctx: OpContext): Promise<void> {
    this.#damaged.delete(formatAttachmentKey(req.key))
    const known = this.#store.get(req.key)
    const forgotten = known === undefined ? await this.#teardown.removeForgotten(req, ctx.signal) : undefined
    if (known !== undefined) await this.#teardown.remove(known, ctx.signal)
    await this.#teardown.letGo(req.port ?? known?.port ?? forgotten)
  }

  async check(req: CheckRequest, ctx: OpContext): Promise<void> {
    const known = this.#store.get(req.key)
    if (known?.result === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${formatAttachmentKey(req.key)} is not known`)
    const [has, should] = [addressList(known.result), addressList(req.expected)]
    if (has !== should) throw new OffloadError('CHECK_FAILED', `addresses are ${has}, expected ${should}`)
    const proxy = this.#proxies.of(known.port)
    const problem =
      (await proxy.links()) === undefined
        ? `${proxy.path} is gone`
        : await new Splice(this.#net, proxy.path, req.key.ifName).problem(req.expected)
    if (problem !== undefined) throw new OffloadError('CHECK_FAILED', `in ${proxy.path}: ${problem}`)
    await this.#checkByPlugins(known, ctx)
  }

  /** @throws OffloadError CHECK_FAILED, or why the plugins could not be asked */
  async #checkByPlugins(known: StoredAttachment, { signal, log }: OpContext): Promise<void> {
    // Plugins compare with what they once printed, and nobody else has that.
    if (known.raw === undefined) return
    const id = formatAttachmentKey(known.key)
    try {
      await this.#runner.check(listCall(known, this.#proxies.of(known.port).path), known.raw, signal)
    } catch (error) {
      const failure = OffloadError.from(error)
      if (!differs(failure.cause)) throw failure
      // One that has ended meanwhile is of no interest any more.
      if (this.#store.get(known.key) !== undefined) this.#damaged.set(id, this.#damaged.get(id) ?? 0)
      throw new OffloadError('CHECK_FAILED', failure.message, { cause: failure.cause })
    }
    this.#damaged.delete(id)
    this.#noteFound(known, log)
  }

  #noteFound({ key, raw }: StoredAttachment, log: OpContext['log']): void {
    try {
      const now = this.#store.get(key)
      // It may have been ended or made anew while they looked.
      if (now?.result !== undefined && now.found !== true && isDeepStrictEqual(now.raw, raw)) this.#store.put({ ...now, found: true })
    } catch (error) {
      // The attachment is well all the same, and is looked at again.
      log.warn({ key: formatAttachmentKey(key), error }, 'that its plugins found the attachment well could not be stored')
    }
  }

  /**
   * Whether the plugins still find what they made. What they say against it counts only where they have found it before, and only so often:
   * there are plugins that never do, and a running pod must not be made anew for them.
   */
  async #stands(known: StoredAttachment, ctx: OpContext): Promise<boolean> {
    if (known.found !== true) return true
    const anew = this.#damaged.get(formatAttachmentKey(known.key))
    if (anew === undefined || anew >= TIMES_ANEW) return true
    try {
      await this.#checkByPlugins(known, ctx)
      return true
    } catch (error) {
      if (ctx.signal.aborted) throw error
      return !OffloadError.is(error) || error.code !== 'CHECK_FAILED'
    }
  }

  async status(ctx: OpContext): Promise<void> {
    try {
      await this.#runner.status(await this.#source.load(), ctx.signal)
    } catch (error) {
      const failure = OffloadError.from(error)
      if (failure.code === 'NOT_READY' || failure.code === 'LIMITED_CONNECTIVITY') throw failure
      throw new OffloadError('NOT_READY', failure.message, {
        cause: failure,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      })
    }
  }

  /**
   * What is really spliced, by the notes in the proxy namespaces. A broken splice is left out, so that resync repairs it, and so is one
   * whose pod has still to be told where its gateways are.
   */
  async list(): Promise<AttachmentKey[]> {
    const rows = this.#store.all()
    const untold = new Set(rows.filter(({ unannounced }) => unannounced === true).map(({ key }) => formatAttachmentKey(key)))
    const spliced = await this.#proxies.spliced(rows.map(({ key }) => key))
    return spliced.filter((key) => !untold.has(formatAttachmentKey(key)))
  }

  /** An attachment that is being made anew for a running pod is left to the resync, which tells what the pod has. */
  async remembered(): Promise<RememberedAttachment[]> {
    return this.#store
      .all()
      .filter(({ result, again }) => result !== undefined || again === undefined)
      .map(({ request, result }) => ({ request, ...(result === undefined ? {} : { result }) }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#store[Symbol.dispose]()
    await this.#net[Symbol.asyncDispose]()
  }

  /** What pods have and the store has lost. What plugins printed for it is lost for good. */
  #takeOver(known: readonly KnownAttachment[], list: PluginList, { log }: OpContext): void {
    for (const { request, result } of known) {
      if (this.#store.get(request.key) !== undefined || this.#store.byPort(request.port).length > 0) continue
      this.#store.put({ ...plannedAttachment(request, list), result })
      log.warn({ key: formatAttachmentKey(request.key), pod: request.pod }, 'attachment taken over from the agent')
    }
  }
}

/**
 * Whether a plugin's answer to CHECK says that something is not as it was. Codes below 100 are the specification's own and say that the
 * plugin could not look (5 input and output, 11 try again later, …), but for 3: the container is unknown. One that says nothing was killed
 * or crashed.
 *
 * @see https://www.cni.dev/docs/spec/#error
 */
function differs(cause: unknown): boolean {
  if (!(cause instanceof PluginError) || cause.pluginCode === undefined) return false
  return cause.pluginCode >= 100 || cause.pluginCode === 3
}

const addressList = ({ ips }: AttachResult): string => ips.map(({ address }) => address).join(', ')

function sameVf(a: PortRef, b: PortRef): boolean {
  return formatVfId(a.vf) === formatVfId(b.vf)
}
