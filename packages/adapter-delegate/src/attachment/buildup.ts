import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { attachmentNote, isAttachmentNote, madeByPlugins, type Proxies, type ProxyNamespace, Splice } from '@cni-offload/linux/splice'
import {
  type AttachResult,
  type Clock,
  formatAttachmentKey,
  formatVfId,
  OffloadError,
  type OpContext,
  type PortRef,
} from '@cni-offload/sdk'
import { decodeRaw, type PodAddresses, withMac } from '@cni-offload/sdk/exec'
import type { PluginRunner } from '../plugin-runner.ts'
import { announceGateways } from '../splice/announce-gateways.ts'
import { observe, podNetwork } from '../splice/pod-network.ts'
import { podSysctls } from '../splice/pod-sysctls.ts'
import { settleGateways } from '../splice/settle-gateways.ts'
import { reached } from '../steps.ts'
import type { AttachmentStore, StoredAttachment } from '../state/attachment-store.ts'
import { addressesOf, listCall, podAddresses, sameAddresses, withAgain } from './stored.ts'
import { PATIENT, type Teardown } from './teardown.ts'

/** What a {@link Buildup} works with. */
export interface BuildupParts {
  /** Network operations. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** The attachments. */
  readonly store: AttachmentStore
  /** What runs plugin lists. */
  readonly runner: PluginRunner
  /** The proxy namespaces. */
  readonly proxies: Proxies
  /** Undoes what was before. */
  readonly teardown: Teardown
  /** Network namespace from which gateways are asked. */
  readonly home: NetnsPath
}

/** The steps by which an attachment is made. */
export class Buildup {
  readonly #net: LinuxNet
  readonly #clock: Clock
  readonly #store: AttachmentStore
  readonly #runner: PluginRunner
  readonly #proxies: Proxies
  readonly #teardown: Teardown
  readonly #home: NetnsPath

  /** Makes nothing yet. */
  constructor({ net, clock, store, runner, proxies, teardown, home }: BuildupParts) {
    this.#net = net
    this.#clock = clock
    this.#store = store
    this.#runner = runner
    this.#proxies = proxies
    this.#teardown = teardown
    this.#home = home
  }

  /** Makes a known attachment forward again if the CNI's side of it is still there; false if it has to be made anew. */
  async restore({ key, port }: Pick<StoredAttachment, 'key' | 'port'>, { mac }: AttachResult): Promise<boolean> {
    const proxy = this.#proxies.of(port)
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
   * @param had - what the running pod has, where the host tells
   * @param forwards - whether the attachment serves its pod at the moment: it goes on to when its plugins fail to undo it
   * @returns addresses that the attachment had: a pod that outlived the DPU's network still uses them. They are on record before
   * anything is undone and until the ADD has succeeded, however many it takes
   */
  async clear(
    attachment: StoredAttachment,
    proxy: ProxyNamespace,
    known: StoredAttachment | undefined,
    { had, forwards }: { readonly had: PodAddresses | undefined; readonly forwards: boolean },
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
    const again = had ?? (known === undefined ? undefined : addressesOf(known)) ?? noted
    const refused = known !== undefined && forwards ? (): Promise<void> => this.#goOn(known) : undefined
    const anew = again !== undefined
    if (known !== undefined) await this.#teardown.undo(withAgain(known, again), PATIENT, { anew, refused })
    else if (own !== undefined) {
      this.#store.put(withAgain(attachment, again))
      await this.#teardown.removeForgotten({ key, port }, PATIENT, anew)
    }
    await this.#teardown.deleteLinks(proxy)
    return again
  }

  /** Has an attachment forward again that could not be undone, as far as its plugins have left it. */
  async #goOn(known: StoredAttachment): Promise<void> {
    this.#store.put(known)
    if (known.result !== undefined) await this.restore(known, known.result)
  }

  /**
   * Runs the list and splices what it makes.
   *
   * @param again - what the running pod has and must keep
   * @returns what the pod needs; the row has it, too
   * @throws OffloadError ADAPTER_FAILED also when the plugins gave the running pod something else
   */
  async add(
    attachment: StoredAttachment,
    proxy: ProxyNamespace,
    again: PodAddresses | undefined,
    { signal, log }: OpContext,
  ): Promise<AttachResult> {
    const { key, list } = attachment
    const call = { ...listCall(attachment, proxy.path), ...(again === undefined ? {} : { again }) }
    const answer = await this.#runner.add(call, signal)
    reached('delegate.attach.made')
    const kept = await this.#runner.keep?.(call, signal)
    // Where no plugin can be asked for a MAC, the one that the running pod has is set under it.
    if (again !== undefined) await this.#net.apply(proxy.path, [{ op: 'link.set', dev: key.ifName, mac: again.mac }])
    const raw = again === undefined ? answer : withMac(answer, key.ifName, again.mac)
    const inside = await new Splice(this.#net, proxy.path, key.ifName).open(attachmentNote(key))
    reached('delegate.attach.spliced')
    const seen = await observe(this.#net, proxy.path, inside)
    const sysctls = { ...this.#runner.podSysctls?.(list), ...podSysctls(list, key.ifName) }
    const result = podNetwork(decodeRaw(raw, list), seen, sysctls)
    if (again !== undefined && !sameAddresses(podAddresses(result), again)) throw changed(again, podAddresses(result))
    const silent = await settleGateways({ net: this.#net, netns: this.#home, clock: this.#clock }, result, signal)
    if (silent.length > 0) log.warn({ gateways: silent }, 'gateways of the pod do not answer yet: duplicate address detection goes on')
    if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', 'attach')
    const made = {
      ...attachment,
      raw,
      result,
      ...(kept === undefined ? {} : { kept }),
      ...(again === undefined ? {} : { unannounced: true }),
    }
    this.#store.put(made)
    reached('delegate.attach.finished')
    await this.announce(made, log)
    return result
  }

  /**
   * Tells the running pod of an attachment that was made anew where its gateways are now; again does no harm. What fails stays on record.
   */
  async announce({ key, port, result, unannounced }: StoredAttachment, log: OpContext['log']): Promise<void> {
    if (result === undefined || unannounced !== true) return
    try {
      const answering = this.#runner.answeringDevice?.(key)
      await announceGateways({ net: this.#net, home: this.#home, proxy: this.#proxies.of(port).path, answering }, key.ifName, result)
      const now = this.#store.get(key)
      if (now?.unannounced !== true) return
      const { unannounced: _done, ...told } = now
      this.#store.put(told)
      reached('delegate.gateways.announced')
    } catch (error) {
      log.warn({ key: formatAttachmentKey(key), error }, 'a running pod could not be told where its gateways are now; it is tried again')
    }
  }
}

function taken(port: PortRef, holder: string): OffloadError {
  return new OffloadError('ALREADY_EXISTS', `port ${port.name} of VF ${formatVfId(port.vf)} is held by ${holder}`)
}

function changed(had: PodAddresses, got: PodAddresses): OffloadError {
  const shown = ({ mac, ips }: PodAddresses): string => [mac, ...ips].join(', ')
  return new OffloadError('ADAPTER_FAILED', `the running pod has ${shown(had)}, the plugin list gives it ${shown(got)}`, {
    hint: 'Its IPAM plugin must honour the addresses that "args.cni.ips" or the capability "ips" asks for; otherwise restart the pod.',
  })
}
