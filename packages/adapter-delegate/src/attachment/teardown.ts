import type { LinuxNet } from '@cni-offload/linux'
import { attachmentNote, isAttachmentNote, madeByPlugins, type Proxies, type ProxyNamespace } from '@cni-offload/linux/splice'
import { type DetachRequest, OffloadError, type OpContext, type PortRef } from '@cni-offload/sdk'
import type { PluginListSource } from '@cni-offload/sdk/exec'
import type { PluginRunner } from '../plugin-runner.ts'
import { reached } from '../steps.ts'
import type { AttachmentStore, StoredAttachment } from '../state/attachment-store.ts'
import { listCall } from './stored.ts'

/** Undoing must not be cut short by the caller's patience; each plugin still has its own time limit. */
export const PATIENT: AbortSignal = new AbortController().signal

/** What a {@link Teardown} works with. */
export interface TeardownParts {
  /** Network operations. */
  readonly net: LinuxNet
  /** The attachments. */
  readonly store: AttachmentStore
  /** Today's plugin list. */
  readonly source: PluginListSource
  /** What runs plugin lists. */
  readonly runner: PluginRunner
  /** The proxy namespaces. */
  readonly proxies: Proxies
}

/** Undoes attachments, whole or half made, known or forgotten. */
export class Teardown {
  readonly #net: LinuxNet
  readonly #store: AttachmentStore
  readonly #source: PluginListSource
  readonly #runner: PluginRunner
  readonly #proxies: Proxies

  /** Undoes nothing yet. */
  constructor({ net, store, source, runner, proxies }: TeardownParts) {
    this.#net = net
    this.#store = store
    this.#source = source
    this.#runner = runner
    this.#proxies = proxies
  }

  /** Undoes an attachment in whatever state it is. Its row goes last. */
  async remove(attachment: StoredAttachment, signal: AbortSignal): Promise<void> {
    await this.undo(attachment, signal)
    this.#store.delete(attachment.key)
    reached('delegate.detach.forgotten')
  }

  /**
   * Undoes an attachment in whatever state it is, all but its row.
   *
   * @param anew - whether it is made anew right after, with what its running pod has
   * @param refused - called before it throws what the plugins failed with
   */
  async undo(
    attachment: StoredAttachment,
    signal: AbortSignal,
    { anew = false, refused }: { readonly anew?: boolean; readonly refused?: (() => Promise<void>) | undefined } = {},
  ): Promise<void> {
    const { result: _undone, ...undoing } = attachment
    this.#store.put(undoing)
    reached('delegate.detach.noted')
    const proxy = this.#proxies.of(attachment.port)
    const links = await proxy.links()
    // The port may serve somebody else by now, under the same interface name.
    const foreign = links?.some(({ alias }) => isAttachmentNote(alias) && alias !== attachmentNote(attachment.key)) === true
    const own = links !== undefined && !foreign
    if (own) await proxy.neutral()
    reached('delegate.detach.cut')
    try {
      await this.#runner.del({ ...listCall(attachment, own ? proxy.path : ''), anew }, attachment.raw, signal)
    } catch (error) {
      await refused?.()
      throw error
    }
    reached('delegate.detach.unmade')
    if (own) await this.deleteLinks(proxy)
    reached('delegate.detach.links-deleted')
  }

  /**
   * Undoes an attachment whose row is lost, as far as its note in a proxy namespace and today's list tell what it was.
   *
   * @param anew - whether it is made anew right after, with what its running pod has
   * @returns the port that it had, by its note
   */
  async removeForgotten({ key, port }: DetachRequest, signal: AbortSignal, anew: boolean = false): Promise<PortRef | undefined> {
    if (port !== undefined) this.#proxies.of(port)
    const holder = await this.#proxies.noted(attachmentNote(key))
    await holder?.neutral()
    try {
      const list = await this.#source.load()
      await this.#runner.del(
        { list, containerId: key.containerId, netns: holder?.path ?? '', ifName: key.ifName, args: {}, runtimeConfig: {}, anew },
        undefined,
        signal,
      )
    } catch (error) {
      // Where nothing is noted and plugins are not even installed, there is nothing that a plugin could have to undo.
      if (holder !== undefined || !OffloadError.is(error) || error.code !== 'NOT_READY') throw error
    }
    if (holder !== undefined) await this.deleteLinks(holder)
    return holder?.port
  }

  /** Undoes an attach that failed, whatever its caller's patience; its row stays where that fails, too. */
  async undoFailed(attachment: StoredAttachment, error: unknown, ctx: OpContext): Promise<void> {
    try {
      await this.remove(attachment, PATIENT)
      await this.letGo(attachment.port)
    } catch (second) {
      // The row stays, so that the detach which follows a failed attach tries it again.
      ctx.log.warn({ error: second, first: error }, 'undoing a failed attach failed too')
    }
  }

  /**
   * Leaves a failed ADD of a running pod to the next attach. What the plugins have reserved stays reserved: undoing would free
   * addresses that the pod uses. Only frames are kept from flowing, and the proxy from answering for the pod.
   */
  async putOff(proxy: ProxyNamespace, first: unknown, ctx: OpContext): Promise<void> {
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
  async letGo(port: PortRef | undefined): Promise<void> {
    if (port?.shared !== true) return
    const proxy = this.#proxies.of(port)
    const links = await proxy.links()
    if (links === undefined || links.some(({ alias }) => isAttachmentNote(alias)) || this.#store.byPort(port).length > 0) return
    await proxy.giveBack()
  }

  /** Deletes what plugins have made in a proxy namespace. */
  async deleteLinks(proxy: ProxyNamespace): Promise<void> {
    const leftover = madeByPlugins(await proxy.links())
    await this.#net.apply(
      proxy.path,
      leftover.map(({ name }) => ({ op: 'link.del', dev: name, absentOk: true })),
    )
  }
}
