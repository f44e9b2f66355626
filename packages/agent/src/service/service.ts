import { isDeepStrictEqual } from 'node:util'
import {
  attachResult,
  type AttachmentKey,
  type AttachResult,
  formatAttachmentKey,
  formatVfId,
  OffloadError,
  type OpContext,
  parseWith,
  type VfId,
} from '@cni-offload/sdk'
import { KeyedMutex, type RepairLedger } from '@cni-offload/sdk/runtime'
import {
  type AgentBeat,
  HEARTBEAT,
  type HostBeat,
  type AttachCall,
  type AttachmentState,
  type AttachReply,
  type CallContext,
  type HandshakeCall,
  type HandshakeReply,
  type OffloadApi,
  type ResyncEvent,
} from '@cni-offload/protocol'
import type { AttachmentJournal } from '../journal/types.ts'
import type { AgentLimits } from '../limits.ts'
import type { AgentMetrics } from '../metrics/metrics.ts'
import type { Attachments } from './attachments.ts'
import { authoriseCall } from './authorise.ts'
import type { Calls, Method } from './calls.ts'
import type { DeviceHealth } from './device-health.ts'
import { negotiate } from './handshake.ts'
import type { HostPresence } from './host-presence.ts'
import type { Networks } from './networks.ts'
import type { PortPlan } from './port-plan.ts'
import { resync } from './resync.ts'

/** What {@link OffloadService} works with. */
export interface ServiceDeps {
  /** Node whose host is served. */
  readonly node: string
  /** Differs for each run of the agent. */
  readonly instanceId: string
  /** What survives a crash. */
  readonly journal: AttachmentJournal
  /** The adapters. */
  readonly networks: Networks
  /** Whose port is whose. */
  readonly ports: PortPlan
  /** State of the hardware. */
  readonly health: DeviceHealth
  /** Makes and ends attachments. */
  readonly attachments: Attachments
  /** What surrounds each call. */
  readonly calls: Calls
  /** Whether the host is there. */
  readonly host: HostPresence
  /** Concurrency. */
  readonly limits: AgentLimits
  /** Counters. */
  readonly metrics: AgentMetrics
  /** What the reconciler did. */
  readonly ledger: Pick<RepairLedger, 'byAttachment'>
}

/** `offload.v1` as the agent serves it: who may call, what each call means. */
export class OffloadService implements OffloadApi {
  readonly #deps: ServiceDeps
  readonly #resyncs = new KeyedMutex()
  /** Why the host was refused last. */
  #refused: string | undefined

  /** Serves as soon as it is made. */
  constructor(deps: ServiceDeps) {
    this.#deps = deps
  }

  /** @inheritDoc */
  async handshake(call: HandshakeCall, ctx: CallContext): Promise<HandshakeReply> {
    return await this.#call('handshake', ctx, {}, (op) => {
      const { node, instanceId, networks, ports } = this.#deps
      if (call.node !== node)
        throw new OffloadError('PERMISSION_DENIED', `node = ${JSON.stringify(call.node)}: this is the agent of node "${node}"`, {
          hint: 'Correct "agent.address" or "node" in the configuration of the host daemon.',
        })
      const protocol = this.#agree(call.protocol, op)
      op.log.info({ protocol, bootId: call.bootId, features: call.features }, 'host connected')
      return Promise.resolve({ protocol, instanceId, networks: networks.names, features: [HEARTBEAT], kept: ports.kept })
    })
  }

  /** @inheritDoc */
  async attach(call: AttachCall, ctx: CallContext): Promise<AttachReply> {
    return await this.#call('attach', ctx, { key: formatAttachmentKey(call.key), vf: formatVfId(call.vf), pod: call.pod }, async (op) => {
      const { result, port, kept } = await this.#deps.attachments.attach(call, op)
      op.log.info({ port, kept, ips: result.ips }, 'attached')
      return { result, port }
    })
  }

  /** @inheritDoc */
  async detach(call: { readonly key: AttachmentKey; readonly vf?: VfId }, ctx: CallContext): Promise<void> {
    await this.#call('detach', ctx, { key: formatAttachmentKey(call.key) }, async (op) => {
      await this.#deps.attachments.detach(call.key, op)
      op.log.info({}, 'detached')
    })
  }

  /** @inheritDoc */
  async check(call: { readonly key: AttachmentKey; readonly expected?: AttachResult }, ctx: CallContext): Promise<void> {
    const id = formatAttachmentKey(call.key)
    await this.#call('check', ctx, { key: id }, (op) =>
      this.#deps.attachments.inspect(call.key, op, async (row) => {
        if (row?.state !== 'attached' || row.result === undefined)
          throw new OffloadError('CHECK_FAILED', `attachment ${id} is ${row === undefined ? 'not known' : row.state} on the DPU`)
        if (call.expected !== undefined) assertSame(id, row.result, call.expected)
        this.#deps.health.assertUsable(row.vf)
        await this.#deps.networks.requireMaker(row).check({ key: call.key, port: { vf: row.vf, name: row.port }, expected: row.result }, op)
      }),
    )
  }

  /** @inheritDoc */
  async status(call: { readonly network?: string }, ctx: CallContext): Promise<void> {
    await this.#call('status', ctx, {}, async (op) => {
      const { health, networks } = this.#deps
      health.assertReady()
      const adapters = call.network === undefined ? networks.adapters : [networks.require(call.network)]
      await Promise.all(adapters.map((adapter) => adapter.status(op)))
    })
  }

  /** @inheritDoc */
  async list(ctx: CallContext): Promise<AttachmentState[]> {
    return await this.#call('list', ctx, {}, () => {
      const repaired = this.#deps.ledger.byAttachment()
      return Promise.resolve(
        this.#deps.journal.all().map(({ key, vf, port, state, result, request }) => {
          const repairs = repaired.get(formatAttachmentKey(key))
          return {
            key,
            vf,
            port,
            state,
            request,
            ...(result === undefined ? {} : { result }),
            ...(repairs === undefined ? {} : { repairs }),
          }
        }),
      )
    })
  }

  /** @inheritDoc */
  async *resync(wired: AsyncIterable<AttachCall>, ctx: CallContext): AsyncGenerator<ResyncEvent, void, undefined> {
    yield* this.#deps.calls.stream('resync', { timeoutMs: this.#deps.limits.resyncTimeoutMs, ...ctx }, (op) => this.#resync(wired, ctx, op))
  }

  /** @inheritDoc */
  async *heartbeat(beats: AsyncIterable<HostBeat>, ctx: CallContext): AsyncGenerator<AgentBeat, void, undefined> {
    authoriseCall(ctx, this.#deps.node)
    yield* this.#deps.host.meet(beats, ctx.signal)
  }

  /** A host that is refused tries again each second: that is logged once. */
  #agree(theirs: HandshakeCall['protocol'], { log }: OpContext): number {
    try {
      const protocol = negotiate(theirs)
      this.#refused = undefined
      return protocol
    } catch (error) {
      const { code, hint, message } = OffloadError.from(error)
      if (message !== this.#refused) log.error({ code, reason: message, hint }, 'host refused')
      this.#refused = message
      throw error
    }
  }

  async *#resync(wired: AsyncIterable<AttachCall>, ctx: CallContext, op: OpContext): AsyncGenerator<ResyncEvent> {
    authoriseCall(ctx, this.#deps.node)
    // One at a time: the host may have reconnected while the resync of its previous connection still runs.
    using _turn = await this.#resyncs.acquire('resync', op.signal)
    const { concurrency, callTimeoutMs } = this.#deps.limits
    for await (const event of resync({ ...this.#deps, concurrency, callTimeoutMs }, wired, op)) {
      this.#deps.metrics.resyncEvents.inc({ action: event.action })
      yield event
    }
  }

  async #call<T>(
    method: Method,
    ctx: CallContext,
    fields: Readonly<Record<string, unknown>>,
    work: (op: OpContext) => Promise<T>,
  ): Promise<T> {
    return await this.#deps.calls.run(method, ctx, fields, async (op) => {
      authoriseCall(ctx, this.#deps.node)
      return await work(op)
    })
  }
}

const assertSame = (id: string, actual: AttachResult, expected: AttachResult): void => {
  const wanted = parseWith(attachResult, expected, 'expected result', 'INVALID_NETCONF')
  for (const field of ['mac', 'mtu', 'ips', 'routes', 'neighbours', 'dns', 'sysctls', 'vf'] as const)
    if (!isDeepStrictEqual(actual[field], wanted[field]))
      throw new OffloadError(
        'CHECK_FAILED',
        `attachment ${id}: ${field} is ${JSON.stringify(actual[field])} on the DPU, the host expects ${JSON.stringify(wanted[field])}`,
      )
}
