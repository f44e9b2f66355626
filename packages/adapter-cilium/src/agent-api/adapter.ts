import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
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
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { StoredAttachment } from '../state/attachment-store.ts'
import type { CommonParts } from '../parts.ts'
import { reached } from '../steps.ts'
import { type AttachJob, Buildup } from './buildup.ts'
import { UNTIL_DONE } from './endpoints.ts'
import type { EndpointDevice, EndpointDevices } from './endpoint-device.ts'
import { dueDeletion } from './identity.ts'
import { portTaken } from './pod-device.ts'
import { addressesOf, podAddresses, refuseUnencrypted, refuseUnsupported, sameAddresses } from './wishes.ts'

/** What a {@link CiliumAdapter} is made of. */
export interface CiliumParts extends Pick<
  CommonParts,
  'net' | 'store' | 'endpoints' | 'inspector' | 'addresses' | 'deletions' | 'connectTimeoutMs'
> {
  /** What endpoints are made over. */
  readonly devices: EndpointDevices
}

/**
 * Gives pods the network of a stock cilium-agent by its REST API: addresses from its allocator, and an endpoint over a device that
 * is connected to the port of the VF, or is that port.
 */
export class CiliumAdapter implements CniAdapter {
  readonly name = 'cilium'
  readonly specVersion = 'v1'
  readonly #parts: CiliumParts
  readonly #buildup: Buildup

  /** Makes nothing yet. */
  constructor(parts: CiliumParts) {
    this.#parts = parts
    this.#buildup = new Buildup(parts)
  }

  /** The families are those that the agent had when it was asked last; both until then. */
  get capabilities(): AdapterCapabilities {
    return { families: this.#parts.inspector.families, runtimeConfig: ['mac'], fixedMac: true }
  }

  /** Takes all ports that are its own. The agent may come later. */
  async start(ports: readonly PortRef[], ctx: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    this.#takeOver(known, ctx)
    await Promise.all(
      ports.map(async (port) => {
        try {
          await this.#parts.devices.meet(
            port,
            this.#parts.store.byPort(port).map(({ request }) => request.key),
          )
          await (port.shared === true ? this.#letGo(port) : this.#parts.devices.take(port))
        } catch (error) {
          if (!OffloadError.is(error) || error.code !== 'HARDWARE_FAILURE') throw error
          ctx.log.warn({ port: port.name, error }, 'port is missing; it is looked for again at its next attach')
        }
      }),
    )
    await this.#parts.inspector.greet(ctx)
    this.#parts.deletions.start()
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    refuseUnsupported(req)
    if (ctx.signal.aborted) throw OffloadError.from(ctx.signal.reason, 'CANCELLED', 'attach')
    const caller: Caller = { ...ctx, patience: { ...UNTIL_DONE, unreachableMs: this.#parts.connectTimeoutMs } }
    const { store, deletions, devices, inspector } = this.#parts
    using _turn = await this.#turn(req.key, ctx)
    const info = await inspector.info(caller)
    refuseUnencrypted(req, info)
    const had = req.had === undefined ? undefined : podAddresses(req.had)
    await deletions.settle(req.key, caller, had?.ips)

    const known = store.get(req.key)
    const device = devices.of(req.key, req.port)
    await this.#assertFree(req, device)
    const again = had ?? (known === undefined ? undefined : addressesOf(known))
    const job: AttachJob = { req, info, device, again, caller }
    const { result } = known ?? {}
    const intact =
      result !== undefined &&
      known !== undefined &&
      sameVf(known.request.port, req.port) &&
      sameAddresses(podAddresses(result), again ?? podAddresses(result))
    if (intact && (await this.#buildup.restore(job, result))) return result
    if (known !== undefined && !sameVf(known.request.port, req.port)) await this.#leave(known)
    return await this.#buildup.make(job, ctx)
  }

  async detach(req: DetachRequest, ctx: OpContext): Promise<void> {
    const { store, deletions, devices } = this.#parts
    using _turn = await this.#turn(req.key, ctx)
    const known = store.get(req.key)
    const port = known?.request.port ?? (await devices.holder(req.key, req.port))
    // The port first: an address must not be free while its last owner can still send.
    if (port !== undefined) await devices.of(req.key, port).remove()
    reached('cilium.detach.cut')
    const due = known === undefined ? { key: req.key, owner: '', ips: [] } : dueDeletion(known)
    // An attach that never came to its end may have asked the agent for an endpoint.
    const unsure = known !== undefined && known.result === undefined
    await deletions.delete(due, unsure, { ...ctx, patience: NO_PATIENCE })
    await this.#letGo(req.port ?? port)
  }

  async check(req: CheckRequest, ctx: OpContext): Promise<void> {
    const known = this.#parts.store.get(req.key)
    if (known?.result === undefined) throw differs(`attachment ${formatAttachmentKey(req.key)} is not known`)
    const [has, should] = [addressList(known.result), addressList(req.expected)]
    if (has !== should) throw differs(`addresses are ${has}, expected ${should}`)
    const problem = await this.#parts.devices.of(req.key, known.request.port).problem(req.expected)
    if (problem !== undefined) throw differs(problem)
    await this.#parts.endpoints.check(req.key, ctx)
  }

  async status(ctx: OpContext): Promise<void> {
    await this.#parts.inspector.requireUsable(ctx)
  }

  /** What the agent has an endpoint for and what is really connected. Anything less is left out, so that resync makes it whole. */
  async list(ctx: OpContext): Promise<AttachmentKey[]> {
    const { endpoints, store, devices } = this.#parts
    return await endpoints.served(await devices.connected(store.keys()), ctx, (key, pools) => {
      const known = store.get(key)
      // One of an earlier version, or taken over.
      if (known?.result !== undefined && known.pools === undefined) store.put({ ...known, pools })
    })
  }

  async remembered(): Promise<RememberedAttachment[]> {
    return this.#parts.store
      .all()
      .filter(({ result, again }) => result !== undefined || again === undefined)
      .map(({ request, result }) => ({ request, ...(result === undefined ? {} : { result }) }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.deletions[Symbol.asyncDispose]()
    this.#parts.store[Symbol.dispose]()
    await this.#parts.net[Symbol.asyncDispose]()
  }

  /** What pods have and the store has lost. */
  #takeOver(known: readonly KnownAttachment[], { log }: OpContext): void {
    const { store } = this.#parts
    for (const { request, result } of known) {
      if (store.get(request.key) !== undefined || store.byPort(request.port).length > 0) continue
      store.put({ request, ips: podAddresses(result).ips, result })
      log.warn({ key: formatAttachmentKey(request.key), pod: request.pod }, 'attachment taken over from the agent')
    }
  }

  async #turn(key: AttachmentKey, { signal }: OpContext): Promise<Disposable> {
    try {
      return await this.#parts.deletions.turns.acquire(formatAttachmentKey(key), signal)
    } catch (reason) {
      throw OffloadError.from(reason, 'CANCELLED', `waiting for ${formatAttachmentKey(key)}`)
    }
  }

  async #assertFree({ key, port }: AttachRequest, device: EndpointDevice): Promise<void> {
    const id = formatAttachmentKey(key)
    const other = this.#parts.store.byPort(port).find((row) => formatAttachmentKey(row.request.key) !== id)
    if (other !== undefined) throw portTaken({ port }, formatAttachmentKey(other.request.key))
    await device.assertFree()
  }

  /** The attachment goes on with another port. */
  async #leave({ request: { key, port } }: StoredAttachment): Promise<void> {
    await this.#parts.devices.of(key, port).remove()
    await this.#letGo(port)
  }

  /** Gives a port back that other adapters may attach, too, unless an attachment has it. */
  async #letGo(port: PortRef | undefined): Promise<void> {
    const { store, devices } = this.#parts
    if (port?.shared === true && store.byPort(port).length === 0) await devices.giveBack(port)
  }
}

const differs = (what: string): OffloadError => new OffloadError('CHECK_FAILED', what)

const addressList = ({ ips }: AttachResult): string => ips.map(({ address }) => address).join(', ')

function sameVf(a: PortRef, b: PortRef): boolean {
  return formatVfId(a.vf) === formatVfId(b.vf)
}
