import type { Link, LinuxNet } from '@cni-offload/linux'
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
  OffloadError,
  type OpContext,
  type PortRef,
} from '@cni-offload/sdk'
import {
  decodeRaw,
  type ListCall,
  listCapabilities,
  type ListRunner,
  type PluginListSource,
  type PodAddresses,
  withMac,
} from '@cni-offload/sdk/exec'
import { z } from 'zod'
import { podSysctls } from './splice/pod-sysctls.ts'
import { attachmentNote, isAttachmentNote, notedAttachment } from './splice/note.ts'
import { observe, podNetwork } from './splice/pod-network.ts'
import { PORT_IN_PROXY, ProxyNamespace, type ProxyOptions } from './splice/proxy-namespace.ts'
import { settleGateways } from './splice/settle-gateways.ts'
import { Splice } from './splice/splice.ts'
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
  readonly runner: ListRunner
  /** Where proxy namespaces are made. */
  readonly proxies: ProxyOptions
}

/** Undoing must not be cut short by the caller's patience; each plugin still has its own time limit. */
const PATIENT: AbortSignal = new AbortController().signal

/**
 * Runs a stock CNI plugin list against proxy namespaces on the DPU, and splices what the list makes there to the ports of
 * the VFs. The CNI believes that the pod is local.
 */
export class DelegateAdapter implements CniAdapter {
  readonly name: string
  readonly specVersion = 'v1'
  readonly #net: LinuxNet
  readonly #clock: Clock
  readonly #store: AttachmentStore
  readonly #source: PluginListSource
  readonly #runner: ListRunner
  readonly #options: ProxyOptions
  readonly #proxies = new Map<string, ProxyNamespace>()

  /** Makes nothing yet. */
  constructor(parts: DelegateParts) {
    this.name = parts.name
    this.#net = parts.net
    this.#clock = parts.clock
    this.#store = parts.store
    this.#source = parts.source
    this.#runner = parts.runner
    this.#options = parts.proxies
  }

  /** As the list that was loaded last declares them. */
  get capabilities(): AdapterCapabilities {
    const runtimeConfig = listCapabilities(this.#source.current)
    return { families: ['ipv4', 'ipv6'], runtimeConfig, fixedMac: runtimeConfig.includes('mac') }
  }

  /**
   * Moves all ports into their proxy namespaces: the kernel needs 12–20 ms for each, which no attach should wait for. Ports that
   * are shared with other adapters are moved with each attach and detach.
   */
  async start(ports: readonly PortRef[], ctx: OpContext): Promise<void> {
    // Those that are there already say whose they are; one that is missing may be plugged in later.
    await Promise.all(
      ports.map(async (port) => {
        try {
          await (port.shared === true ? this.#letGo(port) : this.#proxy(port).ready())
        } catch (error) {
          if (!OffloadError.is(error) || error.code !== 'HARDWARE_FAILURE') throw error
          ctx.log.warn({ port: port.name, error }, 'port is missing; it is looked for again at its next attach')
        }
      }),
    )
    await this.#source.load().catch((error: unknown) => ctx.log.warn({ error }, 'there is no usable plugin list yet'))
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    refuseUnsupported(req)
    if (ctx.signal.aborted) throw OffloadError.from(ctx.signal.reason, 'CANCELLED', 'attach')
    const known = this.#store.get(req.key)
    if (known?.result !== undefined && sameVf(known.port, req.port) && (await this.#restore(known, known.result))) return known.result

    const proxy = this.#proxy(req.port)
    const list = await this.#source.load()
    await this.#runner.requirePlugins(list)
    const attachment: StoredAttachment = {
      key: req.key,
      port: req.port,
      list,
      args: { ...podArgs(req), ...req.cniArgs },
      runtimeConfig: req.runtimeConfig,
      ...conventionalArgs(req),
    }
    const again = await this.#clear(attachment, proxy, known)
    this.#store.put(withAgain(attachment, again))
    if (known !== undefined && !sameVf(known.port, req.port)) await this.#letGo(known.port)
    try {
      return await this.#add(attachment, proxy, again, ctx)
    } catch (error) {
      await (again === undefined ? this.#undoFailed(attachment, error, ctx) : this.#putOff(proxy, error, ctx))
      throw error
    }
  }

  async detach(req: DetachRequest, ctx: OpContext): Promise<void> {
    const known = this.#store.get(req.key)
    const forgotten = known === undefined ? await this.#removeForgotten(req, ctx.signal) : undefined
    if (known !== undefined) await this.#remove(known, ctx.signal)
    await this.#letGo(req.port ?? known?.port ?? forgotten)
  }

  async check(req: CheckRequest, ctx: OpContext): Promise<void> {
    const known = this.#store.get(req.key)
    if (known?.result === undefined || known.raw === undefined)
      throw new OffloadError('CHECK_FAILED', `attachment ${formatAttachmentKey(req.key)} is not known`)
    const [has, should] = [addressList(known.result), addressList(req.expected)]
    if (has !== should) throw new OffloadError('CHECK_FAILED', `addresses are ${has}, expected ${should}`)
    const proxy = this.#proxy(known.port)
    const problem =
      (await proxy.links()) === undefined
        ? `${proxy.path} is gone`
        : await new Splice(this.#net, proxy.path, req.key.ifName).problem(req.expected)
    if (problem !== undefined) throw new OffloadError('CHECK_FAILED', `in ${proxy.path}: ${problem}`)
    try {
      await this.#runner.check(listCall(known, proxy.path), known.raw, ctx.signal)
    } catch (error) {
      const failure = OffloadError.from(error)
      throw failure.code === 'ADAPTER_FAILED' ? new OffloadError('CHECK_FAILED', failure.message, { cause: failure.cause }) : failure
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

  /** What is really spliced, by the notes in the proxy namespaces. A broken splice is left out, so that resync repairs it. */
  async list(): Promise<AttachmentKey[]> {
    const candidates = this.#store.all().map(({ key }) => key)
    const found = await Promise.all([...this.#proxies.values()].map((proxy) => this.#holder(proxy, candidates)))
    return found.filter((key) => key !== undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#store[Symbol.dispose]()
    await this.#net[Symbol.asyncDispose]()
  }

  #proxy(port: PortRef): ProxyNamespace {
    const id = formatVfId(port.vf)
    const proxy = this.#proxies.get(id) ?? new ProxyNamespace(this.#net, port, this.#options)
    this.#proxies.set(id, proxy)
    return proxy
  }

  async #holder(proxy: ProxyNamespace, candidates: readonly AttachmentKey[]): Promise<AttachmentKey | undefined> {
    const inside = (await proxy.links())?.find(({ alias }) => isAttachmentNote(alias))
    if (inside === undefined) return undefined
    const problem = await new Splice(this.#net, proxy.path, inside.name).problem(inside)
    return problem === undefined ? notedAttachment(inside.alias, candidates) : undefined
  }

  /** Makes a known attachment forward again if the CNI's side of it is still there; false if it has to be made anew. */
  async #restore({ key, port }: StoredAttachment, { mac }: AttachResult): Promise<boolean> {
    const proxy = this.#proxy(port)
    const inside = (await proxy.links())?.find(({ name }) => name === key.ifName)
    if (inside?.mac !== mac || inside.alias !== attachmentNote(key)) return false
    const splice = new Splice(this.#net, proxy.path, key.ifName)
    if ((await splice.problem(inside)) === undefined) return true
    await proxy.ready()
    await splice.open(attachmentNote(key))
    return true
  }

  /**
   * Makes the port free for an ADD.
   *
   * @returns addresses that the attachment had: a pod that outlived the DPU's network still uses them. They are on record before
   * anything is undone and until the ADD has succeeded, however many it takes
   */
  async #clear(
    attachment: StoredAttachment,
    proxy: ProxyNamespace,
    known: StoredAttachment | undefined,
  ): Promise<PodAddresses | undefined> {
    const { key, port } = attachment
    const other = this.#store.byPort(port).find((candidate) => formatAttachmentKey(candidate.key) !== formatAttachmentKey(key))
    if (other !== undefined) throw taken(port, formatAttachmentKey(other.key))
    const note = attachmentNote(key)
    const remains = madeByPlugins(await proxy.ready())
    const foreign = remains.find(({ alias }) => isAttachmentNote(alias) && alias !== note)
    if (foreign !== undefined) throw taken(port, foreign.alias)
    const own = remains.find(({ alias }) => alias === note)
    const noted = own === undefined ? undefined : { mac: own.mac, ips: await this.#net.addresses(proxy.path, own.name) }
    const again = (known === undefined ? undefined : addressesOf(known)) ?? noted
    if (known !== undefined) await this.#undo(withAgain(known, again), PATIENT)
    else if (own !== undefined) {
      this.#store.put(withAgain(attachment, again))
      await this.#removeForgotten({ key, port }, PATIENT)
    }
    await this.#deleteLinks(proxy)
    return again
  }

  async #add(
    attachment: StoredAttachment,
    proxy: ProxyNamespace,
    again: PodAddresses | undefined,
    { signal, log }: OpContext,
  ): Promise<AttachResult> {
    const { key, list } = attachment
    const answer = await this.#runner.add({ ...listCall(attachment, proxy.path), ...(again === undefined ? {} : { again }) }, signal)
    // Where no plugin can be asked for a MAC, the one that the running pod has is set under it.
    if (again !== undefined) await this.#net.apply(proxy.path, [{ op: 'link.set', dev: key.ifName, mac: again.mac }])
    const raw = again === undefined ? answer : withMac(answer, key.ifName, again.mac)
    const inside = await new Splice(this.#net, proxy.path, key.ifName).open(attachmentNote(key))
    const seen = await observe(this.#net, proxy.path, inside)
    const result = podNetwork(decodeRaw(raw, list), seen, podSysctls(list, key.ifName))
    const silent = await settleGateways({ net: this.#net, netns: this.#options.home, clock: this.#clock }, result, signal)
    if (silent.length > 0) log.warn({ gateways: silent }, 'gateways of the pod do not answer yet: duplicate address detection goes on')
    if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', 'attach')
    this.#store.put({ ...attachment, raw, result })
    return result
  }

  async #undoFailed(attachment: StoredAttachment, error: unknown, ctx: OpContext): Promise<void> {
    try {
      await this.#remove(attachment, PATIENT)
      await this.#letGo(attachment.port)
    } catch (second) {
      // The row stays, so that the detach which follows a failed attach tries it again.
      ctx.log.warn({ error: second, first: error }, 'undoing a failed attach failed too')
    }
  }

  /**
   * Leaves a failed ADD of a running pod to the next attach. What the plugins have reserved stays reserved: undoing would free
   * addresses that the pod uses. Only frames are kept from flowing, and the proxy from answering for the pod.
   */
  async #putOff(proxy: ProxyNamespace, first: unknown, ctx: OpContext): Promise<void> {
    try {
      await proxy.neutral()
      const made = madeByPlugins(await proxy.links())
      await this.#net.apply(
        proxy.path,
        made.map(({ name }) => ({ op: 'link.set', dev: name, up: false })),
      )
    } catch (error) {
      ctx.log.warn({ error, first }, 'cutting the port off after a failed attach failed too')
    }
  }

  /** Gives a port back that other adapters may attach, too, unless an attachment has it. */
  async #letGo(port: PortRef | undefined): Promise<void> {
    if (port?.shared !== true) return
    const proxy = this.#proxy(port)
    const links = await proxy.links()
    if (links === undefined || links.some(({ alias }) => isAttachmentNote(alias)) || this.#store.byPort(port).length > 0) return
    await proxy.giveBack()
  }

  /** Undoes an attachment in whatever state it is. Its row goes last. */
  async #remove(attachment: StoredAttachment, signal: AbortSignal): Promise<void> {
    await this.#undo(attachment, signal)
    this.#store.delete(attachment.key)
  }

  /** Undoes an attachment in whatever state it is, all but its row. */
  async #undo(attachment: StoredAttachment, signal: AbortSignal): Promise<void> {
    const { result: _undone, ...undoing } = attachment
    this.#store.put(undoing)
    const proxy = this.#proxy(attachment.port)
    const links = await proxy.links()
    // The port may serve somebody else by now, under the same interface name.
    const foreign = links?.some(({ alias }) => isAttachmentNote(alias) && alias !== attachmentNote(attachment.key)) === true
    const own = links !== undefined && !foreign
    if (own) await proxy.neutral()
    await this.#runner.del(listCall(attachment, own ? proxy.path : ''), attachment.raw, signal)
    if (own) await this.#deleteLinks(proxy)
  }

  async #deleteLinks(proxy: ProxyNamespace): Promise<void> {
    const leftover = madeByPlugins(await proxy.links())
    await this.#net.apply(
      proxy.path,
      leftover.map(({ name }) => ({ op: 'link.del', dev: name, absentOk: true })),
    )
  }

  /**
   * Undoes an attachment whose row is lost, as far as its note in a proxy namespace and today's list tell what it was.
   *
   * @returns the port that it had, by its note
   */
  async #removeForgotten({ key, port }: DetachRequest, signal: AbortSignal): Promise<PortRef | undefined> {
    if (port !== undefined) this.#proxy(port)
    const note = attachmentNote(key)
    const noted = await Promise.all(
      [...this.#proxies.values()].map(async (proxy) =>
        (await proxy.links())?.some(({ alias }) => alias === note) === true ? proxy : undefined,
      ),
    )
    const holder = noted.find((proxy) => proxy !== undefined)
    await holder?.neutral()
    try {
      const list = await this.#source.load()
      await this.#runner.del(
        { list, containerId: key.containerId, netns: holder?.path ?? '', ifName: key.ifName, args: {}, runtimeConfig: {} },
        undefined,
        signal,
      )
    } catch (error) {
      // Where nothing is noted and plugins are not even installed, there is nothing that a plugin could have to undo.
      if (holder !== undefined || !OffloadError.is(error) || error.code !== 'NOT_READY') throw error
    }
    if (holder !== undefined) await this.#deleteLinks(holder)
    return holder?.port
  }
}

function listCall({ key, list, args, runtimeConfig, cni }: StoredAttachment, netns: string): ListCall {
  return { list, containerId: key.containerId, netns, ifName: key.ifName, args, runtimeConfig, ...(cni === undefined ? {} : { cni }) }
}

/** `args.cni` of the netconf, where it is what the conventions say that it is. */
function conventionalArgs({ netconf }: AttachRequest): Pick<StoredAttachment, 'cni'> {
  const parsed = z.object({ args: z.object({ cni: z.record(z.string(), z.unknown()) }) }).safeParse(netconf)
  return parsed.success ? { cni: parsed.data.args.cni } : {}
}

/** Links of a proxy namespace that are not ours. */
function madeByPlugins(links: readonly Link[] = []): Link[] {
  return links.filter(({ name }) => name !== 'lo' && name !== PORT_IN_PROXY)
}

/** What the pod of an attachment has; undefined if the attachment was never complete. */
function addressesOf({ result, again }: StoredAttachment): PodAddresses | undefined {
  return result === undefined ? again : { mac: result.mac, ips: result.ips.map(({ address }) => address) }
}

function withAgain(attachment: StoredAttachment, again: PodAddresses | undefined): StoredAttachment {
  return again === undefined ? attachment : { ...attachment, again }
}

/** What Kubernetes runtimes say in CNI_ARGS, for hosts that told us the pod but not their CNI_ARGS. */
function podArgs({ pod, key }: AttachRequest): Record<string, string> {
  if (pod.name === '') return {}
  return { K8S_POD_NAMESPACE: pod.namespace, K8S_POD_NAME: pod.name, K8S_POD_INFRA_CONTAINER_ID: key.containerId, K8S_POD_UID: pod.uid }
}

const addressList = ({ ips }: AttachResult): string => ips.map(({ address }) => address).join(', ')

function sameVf(a: PortRef, b: PortRef): boolean {
  return formatVfId(a.vf) === formatVfId(b.vf)
}

function taken(port: PortRef, holder: string): OffloadError {
  return new OffloadError('ALREADY_EXISTS', `port ${port.name} of VF ${formatVfId(port.vf)} is held by ${holder}`)
}

/** A plugin list cannot be made to do these things from outside; ignoring them would be silent. */
function refuseUnsupported(req: AttachRequest): void {
  const refused = {
    hostIpam: req.hostIpam,
    vlan: req.vlan,
    'flags.ipsec': req.flags.ipsec ? true : undefined,
    'key.ifName': [PORT_IN_PROXY, 'lo'].includes(req.key.ifName) ? req.key.ifName : undefined,
  }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(value)}: a delegated plugin list cannot honour it`, {
        hint: 'Configure it in the plugin list of the DPU, or use another adapter for this network.',
      })
}
