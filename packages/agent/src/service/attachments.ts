import {
  type AttachmentKey,
  type AttachResult,
  type CniAdapter,
  formatAttachmentKey,
  formatVfId,
  type Logger,
  OffloadError,
  type OpContext,
  type PortRef,
} from '@cni-offload/sdk'
import { deadline, KeyedMutex, Limiter } from '@cni-offload/sdk/runtime'
import type { AttachCall, AttachReply } from '@cni-offload/protocol'
import type { AttachmentRow } from '../journal/types.ts'
import { reached } from '../steps.ts'
import { Addresses } from './addresses.ts'
import type { AttachmentsDeps } from './attachments-deps.ts'
import { askAdapter, attachFailure } from './ask-adapter.ts'
import { refuseUnsupported } from './capabilities.ts'
import { Claims } from './claims.ts'
import { DetachRetries } from './detach-retries.ts'
import { resolveWishes } from './wishes.ts'

/** What an attach did. */
export interface Attached extends AttachReply {
  /** Whether the attachment was there already and nothing had to be done. */
  readonly kept: boolean
}

/** A pod that runs already, and what it has as far as anybody knows. */
interface Running {
  readonly had: AttachResult | undefined
}

/**
 * Makes and ends attachments so that journal, adapter and reply always agree.
 *
 * One operation at a time per attachment; a port belongs to one attachment from before its adapter is asked until after its
 * adapter has let go. Whatever fails is undone, and what cannot be undone now is repeated until it is.
 */
export class Attachments implements AsyncDisposable {
  /** What running pods have although they are not attached at the moment. */
  readonly claims: Claims = new Claims()
  readonly #deps: AttachmentsDeps
  readonly #addresses = new Addresses()
  readonly #locks = new KeyedMutex()
  /** Work that gives way to a detach, by attachment. */
  readonly #yielding = new Map<string, AbortController>()
  readonly #slots: Limiter
  readonly #retries: DetachRetries
  readonly #stop = new AbortController()

  /** Does nothing before it is asked to. */
  constructor(deps: AttachmentsDeps) {
    this.#deps = deps
    this.#slots = new Limiter(deps.limits.concurrency)
    this.#retries = new DetachRetries((key, signal) => this.#finish(key, signal), deps.clock, deps.limits, deps.log)
  }

  /** How many detaches failed and wait to be retried. */
  get retrying(): number {
    return this.#retries.size
  }

  /**
   * Makes an attachment; idempotent on the key. If it fails nothing is left, or is being removed.
   *
   * @param believe - given for an attachment that a running pod has: whether its row may be taken for real; where it may not,
   * the adapter is asked again, for what the pod has. If that fails nothing is undone, as the pod goes on using its addresses; its
   * row stays.
   * @throws OffloadError INVALID_NETCONF, INVALID_ENVIRONMENT, UNSUPPORTED_FIELD, ALREADY_EXISTS, HARDWARE_FAILURE, or what the adapter throws
   */
  async attach({ had, ...asked }: AttachCall, ctx: OpContext, believe?: (row: AttachmentRow) => boolean): Promise<Attached> {
    using _lock = await this.#locks.acquire(formatAttachmentKey(asked.key), ctx.signal)
    using _slot = await this.#slots.acquire(ctx.signal)
    const row = this.#deps.journal.get(asked.key)
    const current = row?.state === 'attached' && formatVfId(row.vf) === formatVfId(asked.vf)
    // What is there stays with the adapter that made it, whatever the configuration says by now.
    const adapter = current ? this.#deps.networks.requireMaker(row) : this.#deps.networks.require(asked.key.network)
    refuseUnsupported(asked, adapter)
    const call = resolveWishes(asked, adapter)
    // A detach that came first has dropped what the host says.
    if (believe !== undefined) this.claims.hold(call.key, had, adapter)
    if (current && row.result !== undefined && (believe?.(row) ?? true)) return { result: row.result, port: row.port, kept: true }
    // Whatever can be refused is refused before the attachment's old port is given up.
    this.#deps.health.assertUsable(call.vf)
    // A running pod has its VF, whatever the configuration says by now.
    if (believe === undefined) this.#deps.ports.assertAllowed(call.key.network, call.vf)
    const port = this.#deps.ports.seenBy(adapter, await this.#deps.hardware.port(call.vf, ctx))
    this.#deps.journal.assertFree(call.vf, call.key)
    // What the host says of a pod counts more than what is remembered here: the pod is there.
    const running = believe === undefined ? undefined : { had: had ?? row?.result }
    if (current) return await this.#renew(adapter, call, port, ctx, running?.had)
    if (row !== undefined) await this.#release(row, ctx)
    return await this.#connect(adapter, call, port, ctx, running)
  }

  /**
   * Ends an attachment; absent is success. If it fails it is repeated until it succeeds, and the caller may repeat it too.
   *
   * @param due - has the last word once nothing else touches the attachment
   * @returns whether it was due
   */
  async detach(key: AttachmentKey, ctx: OpContext, due: (row: AttachmentRow | undefined) => boolean = () => true): Promise<boolean> {
    this.#yielding.get(formatAttachmentKey(key))?.abort(new OffloadError('CANCELLED', 'the attachment is being ended'))
    using _lock = await this.#locks.acquire(formatAttachmentKey(key), ctx.signal)
    using _slot = await this.#slots.acquire(ctx.signal)
    const row = this.#deps.journal.get(key)
    if (!due(row)) return false
    // Without a row the adapter is asked all the same: the journal may have been lost, the network may not.
    await (row === undefined ? this.#deps.networks.find(key.network)?.detach({ key }, ctx) : this.#release(row, ctx))
    this.claims.drop(key)
    return true
  }

  /** Runs `look` while no other operation touches the attachment. */
  async inspect<T>(key: AttachmentKey, ctx: OpContext, look: (row: AttachmentRow | undefined) => Promise<T>): Promise<T> {
    using _lock = await this.#locks.acquire(formatAttachmentKey(key), ctx.signal)
    return await look(this.#deps.journal.get(key))
  }

  /**
   * Runs `work` on an attachment while no other operation touches it. Nobody waits for it: where somebody else works on the attachment,
   * or it is not attached, nothing happens and undefined is returned. It gives way to a detach, by its signal.
   *
   * @param work - gets the row, and how to have the adapter attach it again; it has to heed its signal
   */
  async aside<T>(
    key: AttachmentKey,
    ctx: OpContext,
    work: (row: AttachmentRow, again: () => Promise<Attached>, ctx: OpContext) => Promise<T>,
  ): Promise<T | undefined> {
    const id = formatAttachmentKey(key)
    if (this.#locks.isLocked(id)) return undefined
    const yielding = new AbortController()
    const own = { ...ctx, signal: AbortSignal.any([ctx.signal, this.#stop.signal, yielding.signal]) }
    this.#yielding.set(id, yielding)
    try {
      using _lock = await this.#locks.acquire(id, own.signal)
      using _slot = await this.#slots.acquire(own.signal)
      const row = this.#deps.journal.get(key)
      if (row?.state !== 'attached') return undefined
      return await work(row, () => this.#again(row, own), own)
    } finally {
      this.#yielding.delete(id)
    }
  }

  /**
   * Takes over the addresses of a previous run and ends what it left half done. What cannot be ended now is retried in the
   * background, so that one broken attachment does not keep the agent from starting.
   */
  async recover(): Promise<void> {
    const rows = this.#deps.journal.all()
    for (const { key, result } of rows) if (result !== undefined) this.#addresses.set(key, result)
    const halfDone = rows.filter((row) => row.state !== 'attached')
    await Promise.all(
      halfDone.map(async (row) => {
        if (row.state === 'attaching' && row.request.had !== undefined) return this.#leaveToResync(row)
        this.#deps.log.info(
          { key: formatAttachmentKey(row.key), state: row.state, pod: row.request.pod },
          'undoing what a previous run left half done',
        )
        try {
          await this.#finish(row.key, this.#stop.signal)
          reached('agent.recover.undone')
        } catch (error) {
          this.#deps.log.warn({ key: formatAttachmentKey(row.key), err: error }, 'undoing failed and will be retried')
        }
      }),
    )
  }

  /** A running pod goes on using what it has: as where attaching it again fails, nothing is undone. */
  #leaveToResync(row: AttachmentRow): void {
    const { key, request } = row
    const { pod, had } = request
    this.#deps.log.warn(
      { key: formatAttachmentKey(key), pod },
      'the previous run did not end attaching a running pod again: left to the resync',
    )
    this.claims.hold(key, had, this.#deps.networks.makerOf(row))
    this.#deps.journal.abandon(key)
  }

  /** Stops retries and everything that still undoes something. The journal remembers what is due. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await this.#retries[Symbol.asyncDispose]()
  }

  /** @param running - given where a pod runs with the attachment already */
  async #connect(adapter: CniAdapter, call: AttachCall, port: PortRef, ctx: OpContext, running?: Running): Promise<Attached> {
    const { journal } = this.#deps
    // What the pod has stands in the row until it is attached again: whoever finds the row must not take that from the pod.
    const row = journal.begin(
      running?.had === undefined ? call : { ...call, had: running.had },
      port.name,
      this.#deps.networks.idOf(adapter),
    )
    reached('agent.attach.noted')
    try {
      const result = await askAdapter(adapter, call, port, ctx, running?.had)
      reached('agent.attach.connected')
      if (running === undefined) {
        await this.#addresses.assertFree(call.key, adapter, result, ctx.signal)
        this.claims.assertFree(call.key, adapter, result)
      }
      // The caller has gone and will not use the attachment: it must not stay.
      ctx.signal.throwIfAborted()
      journal.attached(call.key, result)
      this.#addresses.set(call.key, result)
      reached('agent.attach.finished')
      return { result, port: port.name, kept: false }
    } catch (error) {
      const failure = attachFailure(adapter, error, ctx)
      const what = running === undefined ? 'attach failed and is undone' : 'attach failed; the pod runs, so that nothing is undone'
      ctx.log.warn({ err: failure }, what)
      // Undoing would free addresses that the pod uses. The network may hold them although the journal was lost.
      if (running !== undefined) {
        journal.abandon(call.key)
        reached('agent.resync.given-up')
      } else await this.#undo(row, ctx.log)
      throw failure
    }
  }

  /** Attaches again what a running pod has. The journal keeps what the pod has until the adapter has succeeded. */
  async #renew(adapter: CniAdapter, call: AttachCall, port: PortRef, ctx: OpContext, had: AttachResult | undefined): Promise<Attached> {
    try {
      const result = await askAdapter(adapter, call, port, ctx, had)
      reached('agent.renew.connected')
      this.#deps.journal.renewed(call, port.name, result, this.#deps.networks.idOf(adapter))
      this.#addresses.set(call.key, result)
      reached('agent.renew.finished')
      return { result, port: port.name, kept: false }
    } catch (error) {
      const failure = attachFailure(adapter, error, ctx)
      ctx.log.warn({ err: failure }, 'attaching again failed; the attachment stays and waits for the next resync')
      throw failure
    }
  }

  async #again(row: AttachmentRow, ctx: OpContext): Promise<Attached> {
    const { health, hardware, networks, ports } = this.#deps
    const adapter = networks.requireMaker(row)
    health.assertUsable(row.vf)
    return await this.#renew(adapter, row.request, ports.seenBy(adapter, await hardware.port(row.vf, ctx)), ctx, row.result)
  }

  /** Not under the caller's deadline, which may be what made the attach fail. */
  async #undo(row: AttachmentRow, log: Logger): Promise<void> {
    const ctx = { signal: deadline(this.#stop.signal, this.#deps.limits.compensationTimeoutMs), log }
    await this.#release(row, ctx).catch((error: unknown) => {
      log.warn({ err: error }, 'undoing failed and will be retried')
    })
  }

  /** Has the adapter let go of the port, then forgets the attachment. The caller holds the attachment's lock. */
  async #release(row: AttachmentRow, ctx: OpContext): Promise<void> {
    this.#deps.journal.detaching(row.key)
    reached('agent.detach.noted')
    // Refused and not repeated here: only another configuration helps, and the agent has to be started for that.
    const adapter = this.#deps.networks.ending(row)
    using _ending = this.#addresses.ending(row.key)
    try {
      if (adapter === undefined)
        ctx.log.warn({ network: row.key.network, port: row.port, result: row.result }, 'forgetting an attachment, as configured')
      else await adapter.detach({ key: row.key, port: this.#deps.ports.seenBy(adapter, { vf: row.vf, name: row.port }) }, ctx)
      reached('agent.detach.disconnected')
      this.#deps.journal.remove(row.key)
      this.#addresses.drop(row.key)
      reached('agent.detach.forgotten')
    } catch (error) {
      this.#retries.add(row.key)
      throw OffloadError.from(ctx.signal.aborted ? ctx.signal.reason : error, 'ADAPTER_FAILED', `adapter "${adapter?.name ?? 'none'}"`)
    }
  }

  /** Finishes a detach that is due; nothing to do if the attachment has been ended or made anew in the meantime. */
  async #finish(key: AttachmentKey, signal: AbortSignal): Promise<void> {
    const id = formatAttachmentKey(key)
    using _lock = await this.#locks.acquire(id, signal)
    using _slot = await this.#slots.acquire(signal)
    const row = this.#deps.journal.get(key)
    if (row === undefined || row.state === 'attached') return
    await this.#release(row, { signal: deadline(signal, this.#deps.limits.compensationTimeoutMs), log: this.#deps.log.child({ key: id }) })
    this.claims.drop(key)
  }
}
