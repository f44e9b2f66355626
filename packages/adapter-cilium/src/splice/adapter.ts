import type { AttachmentStore as PluginStore, DelegateAdapter } from '@cni-offload/adapter-delegate'
import type { NetnsPath } from '@cni-offload/linux'
import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
  type CniAdapter,
  type DetachRequest,
  formatAttachmentKey,
  type KnownAttachment,
  OffloadError,
  type OpContext,
  type PortRef,
  type RememberedAttachment,
} from '@cni-offload/sdk'
import { UNTIL_DONE } from '../agent-api/endpoints.ts'
import { ownerOf } from '../agent-api/identity.ts'
import { withVethEnds } from '../agent-api/veth-devices.ts'
import { podAddresses, refuseUnencrypted, sameAddresses } from '../agent-api/wishes.ts'
import type { Caller } from '../api/patience.ts'
import type { CommonParts } from '../parts.ts'
import type { AddressHolders } from './address-holders.ts'
import { keyOf } from './cilium-runner.ts'
import type { Restorer } from './restorer.ts'

/** What a {@link CiliumSpliceAdapter} is made of. */
export interface CiliumSpliceParts extends Pick<
  CommonParts,
  'net' | 'store' | 'inspector' | 'endpoints' | 'deletions' | 'connectTimeoutMs'
> {
  /** Runs the plugin list against proxy namespaces and splices what it makes; disposed with the adapter. */
  readonly engine: DelegateAdapter
  /** What the engine keeps. */
  readonly attachments: PluginStore
  /** Namespace of the agent. */
  readonly home: NetnsPath
  /** Gives running pods back what they had. */
  readonly restorer: Restorer
  /** Who has which address. */
  readonly holders: AddressHolders
}

/**
 * Gives pods the network of a stock cilium-agent by the stock cilium-cni, run on the DPU against proxy namespaces, as
 * `adapter-delegate` does for any CNI. What is Cilium's own is added: its limits and restarts are borne with, deletions outlive its
 * absence, and running pods keep their addresses when it has lost their endpoints.
 */
export class CiliumSpliceAdapter implements CniAdapter {
  readonly name = 'cilium'
  readonly specVersion = 'v1'
  readonly #parts: CiliumSpliceParts

  /** Makes nothing yet. */
  constructor(parts: CiliumSpliceParts) {
    this.#parts = parts
    for (const { key, request, result, again } of parts.attachments.all()) {
      parts.holders.set(keyOf(key), ownerOf(request.pod, key), result === undefined ? (again?.ips ?? []) : podAddresses(result).ips)
      if (result === undefined) parts.holders.claim(again?.ips ?? [])
    }
  }

  /** What the plugin list declares; the families are those that the agent had when it was asked last, both until then. */
  get capabilities(): AdapterCapabilities {
    return { ...this.#parts.engine.capabilities, families: this.#parts.inspector.families }
  }

  async start(ports: readonly PortRef[], ctx: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    const { engine, holders, inspector, deletions } = this.#parts
    await engine.start(ports, ctx, known)
    for (const { request, result } of known) holders.set(keyOf(request.key), ownerOf(request.pod, request.key), podAddresses(result).ips)
    await inspector.greet(ctx)
    deletions.start()
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    if (ctx.signal.aborted) throw OffloadError.from(ctx.signal.reason, 'CANCELLED', 'attach')
    const { engine, inspector, connectTimeoutMs } = this.#parts
    const caller: Caller = { ...ctx, patience: { ...UNTIL_DONE, unreachableMs: connectTimeoutMs } }
    using _turn = await this.#turn(req.key, ctx)
    refuseUnencrypted(req, await inspector.info(caller))
    if (req.had !== undefined) this.#parts.holders.set(keyOf(req.key), ownerOf(req.pod, req.key), podAddresses(req.had).ips)
    await this.#renew(req, caller)
    try {
      const result = await engine.attach(req, ctx)
      this.#noteHolder(req.key)
      return result
    } catch (error) {
      this.#tryNoteHolder(req.key, ctx)
      throw error
    }
  }

  async detach(req: DetachRequest, ctx: OpContext): Promise<void> {
    using _turn = await this.#turn(req.key, ctx)
    await this.#parts.engine.detach(req, ctx)
    this.#noteHolder(req.key)
  }

  /** Device and endpoint first: lists of old versions have no CHECK. */
  async check(req: CheckRequest, ctx: OpContext): Promise<void> {
    const { attachments, endpoints, restorer, engine } = this.#parts
    const known = attachments.get(req.key)
    if (known !== undefined) {
      const problem = await restorer.problem(known.request, req.expected)
      if (problem !== undefined) throw new OffloadError('CHECK_FAILED', problem)
      await endpoints.check(req.key, ctx)
    }
    await engine.check(req, ctx)
  }

  async status(ctx: OpContext): Promise<void> {
    await this.#parts.inspector.requireUsable(ctx)
    await this.#parts.engine.status(ctx)
  }

  /** What the agent has an endpoint for and what is really spliced. Anything less is left out, so that resync makes it whole. */
  async list(ctx: OpContext): Promise<AttachmentKey[]> {
    const { engine, endpoints, attachments, net, home } = this.#parts
    return await endpoints.served(await withVethEnds(net, home, await engine.list()), ctx, (key, pools) => {
      const known = attachments.get(key)
      // One of an earlier version, or taken over.
      if (known?.result !== undefined && Object.keys(known.kept ?? {}).length === 0) attachments.put({ ...known, kept: pools })
    })
  }

  async remembered(): Promise<RememberedAttachment[]> {
    return await this.#parts.engine.remembered()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.deletions[Symbol.asyncDispose]()
    this.#parts.store[Symbol.dispose]()
    await this.#parts.engine[Symbol.asyncDispose]()
  }

  /** An endpoint that only the agent has lost is made again under the pod, which does not notice. */
  async #renew(req: AttachRequest, caller: Caller): Promise<void> {
    const known = this.#parts.attachments.get(req.key)
    if (known?.result === undefined || this.#parts.inspector.last?.ownAddresses !== true) return
    const has = podAddresses(known.result)
    if (!sameAddresses(has, req.had === undefined ? has : podAddresses(req.had))) return
    await this.#parts.restorer.renew({ ...req, pod: known.request.pod, port: known.request.port }, known.result, known.kept ?? {}, caller)
  }

  /** After whatever has become of an attachment. */
  #noteHolder(key: AttachmentKey): void {
    const { attachments, holders } = this.#parts
    const row = attachments.get(key)
    const ips = row?.result === undefined ? row?.again?.ips : podAddresses(row.result).ips
    if (row === undefined) holders.delete(keyOf(key))
    else holders.set(keyOf(key), ownerOf(row.request.pod, key), ips ?? [])
  }

  /** After an attach that has failed: nothing here may hide why. */
  #tryNoteHolder(key: AttachmentKey, { log }: OpContext): void {
    try {
      this.#noteHolder(key)
    } catch (error) {
      log.warn({ error, key: formatAttachmentKey(key) }, 'which addresses the attachment has is not known')
    }
  }

  async #turn(key: AttachmentKey, { signal }: OpContext): Promise<Disposable> {
    try {
      return await this.#parts.deletions.turns.acquire(formatAttachmentKey(keyOf(key)), signal)
    } catch (reason) {
      throw OffloadError.from(reason, 'CANCELLED', `waiting for ${formatAttachmentKey(key)}`)
    }
  }
}
