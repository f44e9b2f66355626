import { type AttachResult, type AttachRequest, formatAttachmentKey, OffloadError, type OpContext } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import { CiliumApiError } from '../api/api-error.ts'
import { type Caller, NO_PATIENCE } from '../api/patience.ts'
import type { CiliumEndpoint } from '../api/schemas.ts'
import type { AttachmentStore, PodAddresses, StoredAttachment } from '../state/attachment-store.ts'
import { reached } from '../steps.ts'
import type { AddressBook, HeldAddress } from './address-book.ts'
import type { AgentInfo } from './agent-info.ts'
import type { Deletions } from './deletions.ts'
import type { Endpoints } from './endpoints.ts'
import { addressesOfEndpoint, endpointChangeOf, serves } from './endpoint-change.ts'
import type { EndpointDevice } from './endpoint-device.ts'
import { dueDeletion, ownerOf } from './identity.ts'
import { podNetwork } from './pod-network.ts'
import { type Pools, poolsOf, poolsOfEndpoint, withPools } from './pools.ts'
import { podAddresses, sameAddresses, wantedMac } from './wishes.ts'

/** What a {@link Buildup} works with. */
export interface BuildupParts {
  /** The agent's endpoints. */
  readonly endpoints: Endpoints
  /** The attachments. */
  readonly store: AttachmentStore
  /** Addresses. */
  readonly addresses: AddressBook
  /** Undoes what failed. */
  readonly deletions: Deletions
}

/** One attach. */
export interface AttachJob {
  /** What was asked for. */
  readonly req: AttachRequest
  /** What the agent is. */
  readonly info: AgentInfo
  /** The device. */
  readonly device: EndpointDevice
  /** What the running pod has and must keep; undefined for a new pod. */
  readonly again: PodAddresses | undefined
  /** Who calls. */
  readonly caller: Caller
}

interface MadeEndpoint {
  readonly endpoint: CiliumEndpoint
  readonly held: readonly HeldAddress[]
}

/** How long undoing may take whatever the caller's patience, milliseconds. What is not undone by then is due. */
const UNDO_MS = 30_000

/** The steps by which an attachment is made, and undone where one fails. */
export class Buildup {
  readonly #parts: BuildupParts

  /** Makes nothing yet. */
  constructor(parts: BuildupParts) {
    this.#parts = parts
  }

  /** Makes a known attachment forward again if the agent still has its endpoint; false if it has to be made anew. */
  async restore({ req, device, caller }: AttachJob, result: AttachResult): Promise<boolean> {
    const endpoint = await this.#parts.endpoints.of(req.key, caller)
    if (endpoint === undefined || !serves(endpoint, await device.agentEnd())) return false
    if (!sameAddresses(addressesOfEndpoint(endpoint), podAddresses(result))) return false
    return (await device.problem(result)) === undefined || (await device.reopen(result.mac))
  }

  /**
   * Makes an attachment: addresses, device, endpoint, and only then the connection to the port. What fails is undone, except for a
   * running pod: its addresses stay reserved and its port is cut off until the next attempt.
   */
  async make(job: AttachJob, ctx: OpContext): Promise<AttachResult> {
    const { req, again } = job
    const known = this.#parts.store.get(req.key)
    const unfinished = again === undefined ? known : undefined
    const row: StoredAttachment = {
      request: req,
      // Those of an attempt that came to no end, because its process was killed, are still held.
      ips: again?.ips ?? unfinished?.ips ?? [],
      ...withPools(known?.pools),
      ...(again === undefined ? {} : { again }),
    }
    this.#parts.store.put(row)
    reached('cilium.attach.noted')
    try {
      if (unfinished !== undefined) await this.#clear(job, row)
      const result = await this.#connect(job, row)
      if (ctx.signal.aborted) throw OffloadError.from(ctx.signal.reason, 'CANCELLED', 'attach')
      return result
    } catch (error) {
      await (again === undefined ? this.#undo(job, error, ctx) : this.#putOff(job, error, ctx))
      throw error
    }
  }

  async #connect(job: AttachJob, row: StoredAttachment): Promise<AttachResult> {
    const { req, info, device, again } = job
    const mac = again?.mac ?? wantedMac(req)
    const { endpoint, held } = await this.#endpoint(job, row, mac)
    const effective = endpoint.status.networking?.mac ?? ''
    if (again !== undefined && effective !== '' && effective !== again.mac)
      throw new OffloadError('ADAPTER_FAILED', `the running pod has the MAC ${again.mac}, cilium-agent gives its endpoint ${effective}`, {
        hint: 'The annotation cni.cilium.io/mac-address was changed: restart the pod.',
      })
    const result = podNetwork(
      info,
      effective === '' ? mac : effective,
      held.map(({ ip }) => ip),
    )
    await device.open(result.mac)
    reached('cilium.attach.spliced')
    const { again: _kept, ...settled } = row
    this.#parts.store.put({ ...withHeld(settled, held), result })
    reached('cilium.attach.finished')
    return result
  }

  /** The endpoint and its addresses. An agent that is restarted in between has forgotten them: then others are taken, once. */
  async #endpoint(job: AttachJob, row: StoredAttachment, mac: string): Promise<MadeEndpoint> {
    try {
      return await this.#makeEndpoint(job, row, mac)
    } catch (error) {
      const { req, again, caller } = job
      if (!(error instanceof CiliumApiError) || !error.addressesForgotten) throw error
      caller.log.warn({ key: formatAttachmentKey(req.key), error }, 'cilium-agent does not know the addresses any more; others are taken')
      if (again === undefined) await this.#clear(job, this.#parts.store.get(req.key) ?? row)
      return await this.#makeEndpoint(job, row, mac)
    }
  }

  async #makeEndpoint(job: AttachJob, row: StoredAttachment, mac: string): Promise<MadeEndpoint> {
    const { req, info, device } = job
    const held = await this.#takeAddresses(job, row)
    reached('cilium.attach.addressed')
    const end = await device.make(mac, info.deviceMtu)
    reached('cilium.attach.device-made')
    const change = endpointChangeOf({ key: req.key, pod: req.pod, mac, device: end, held })
    const endpoint = await this.#parts.endpoints.create(req.key, change, () => device.agentEnd(), job.caller)
    reached('cilium.attach.endpoint-made')
    return { endpoint, held }
  }

  async #takeAddresses({ req, info, again, caller }: AttachJob, row: StoredAttachment): Promise<readonly HeldAddress[]> {
    const { endpoints, addresses, store } = this.#parts
    const owner = ownerOf(req.pod, req.key)
    // Whatever is there is of an earlier attempt or of a device that is gone.
    const clear = async (): Promise<Pools> => ({
      ...row.pools,
      ...poolsOfEndpoint(await endpoints.clear(req.key, caller)),
    })
    if (again !== undefined) {
      // Before anything is given up: the agent may not have the family any more.
      podNetwork(info, again.mac, again.ips)
      return await addresses.claim(again.ips, owner, caller, clear)
    }
    await clear()
    return await addresses.allocate(req.key, owner, info, caller, (held) => store.put(withHeld(row, held)))
  }

  /** Gives back what an attempt has taken that came to no end, because its process was killed or the agent was. */
  async #clear({ req, caller }: AttachJob, row: StoredAttachment): Promise<void> {
    await this.#parts.endpoints.clear(req.key, caller)
    await this.#parts.addresses.giveBack(dueDeletion(row), true, caller)
  }

  async #undo({ req, device }: AttachJob, first: unknown, ctx: OpContext): Promise<void> {
    const row = this.#parts.store.get(req.key)
    if (row === undefined) return
    try {
      await device.remove()
      await this.#parts.deletions.delete(dueDeletion(row), unsure(first), this.#patient(ctx))
    } catch (error) {
      // The row stays, so that the detach which follows a failed attach tries it again.
      ctx.log.warn({ key: formatAttachmentKey(req.key), error, first }, 'undoing a failed attach failed too')
    }
  }

  async #putOff({ req, device }: AttachJob, first: unknown, ctx: OpContext): Promise<void> {
    await device.close().catch((error: unknown) => {
      ctx.log.warn({ key: formatAttachmentKey(req.key), error, first }, 'cutting the port off after a failed attach failed too')
    })
  }

  #patient({ log }: OpContext): Caller {
    return { signal: deadline(new AbortController().signal, UNDO_MS), log, patience: NO_PATIENCE }
  }
}

/** An attachment with the addresses that are held for it, and no others. */
function withHeld({ pools: _former, ...row }: StoredAttachment, held: readonly HeldAddress[]): StoredAttachment {
  return { ...row, ips: held.map(({ ip }) => ip), ...withPools(poolsOf(held)) }
}

/** Whether an attach ended in a way that does not tell if the agent goes on making the endpoint. */
function unsure(error: unknown): boolean {
  return !(error instanceof CiliumApiError) || error.kind === 'broken'
}
