import { type AttachmentKey, type CniAdapter, formatAttachmentKey, formatVfId, OffloadError, type OpContext } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { AttachCall, ResyncEvent } from '@cni-offload/protocol'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import type { Attachments } from './attachments.ts'
import { heldKeys } from './held-keys.ts'
import { mapConcurrent } from './map-concurrent.ts'
import type { Networks } from './networks.ts'

/** What a resync works with. */
export interface ResyncDeps {
  /** What the agent believes. */
  readonly journal: AttachmentJournal
  /** What the adapters hold. */
  readonly networks: Networks
  /** Makes and ends attachments. */
  readonly attachments: Attachments
  /** How many attachments are looked at at the same time. */
  readonly concurrency: number
  /** Longest that one attachment, or one adapter's list, may take, milliseconds: one that hangs must not hold up the others. */
  readonly callTimeoutMs: number
}

/** Journal and networks as they were when the resync began. */
interface Snapshot {
  readonly rows: ReadonlyMap<string, AttachmentRow>
  /** What the adapters list of their own: what they made, and of what nobody knows who made it, that of the networks that they serve. */
  readonly held: ReadonlyMap<string, AttachmentKey>
  readonly broken: ReadonlyMap<CniAdapter, OffloadError>
}

const takeSnapshot = async (deps: ResyncDeps, ctx: OpContext): Promise<Snapshot> => {
  const rows = new Map(deps.journal.all().map((row) => [formatAttachmentKey(row.key), row]))
  const held = new Map<string, AttachmentKey>()
  const broken = new Map<CniAdapter, OffloadError>()
  await Promise.all(
    deps.networks.adapters.map(async (adapter) => {
      try {
        const keys = await heldKeys(adapter, ctx, deps.callTimeoutMs)
        for (const key of keys) {
          const id = formatAttachmentKey(key)
          if (deps.networks.makerOf(rows.get(id) ?? { key }) === adapter) held.set(id, key)
        }
      } catch (error) {
        broken.set(adapter, OffloadError.from(error, 'ADAPTER_FAILED', `adapter "${adapter.name}" cannot list its attachments`))
      }
    }),
  )
  ctx.signal.throwIfAborted()
  return { rows, held, broken }
}

const failed = (key: AttachmentKey, error: unknown): ResyncEvent => {
  const { code, message } = OffloadError.from(error, 'ADAPTER_FAILED')
  return { key, action: 'failed', error: { code, message } }
}

/**
 * Brings journal and networks in line with what the host has: what is missing is attached again, what is in excess is
 * detached. One event for each attachment; an attachment that fails does not keep the others from being brought in line.
 * What the host has is never given up because attaching it again fails: its pod runs.
 *
 * Strays are detached only after the host's list has ended properly: half a list would look as if the other half were strays.
 *
 * @throws OffloadError CANCELLED or DEADLINE_EXCEEDED when the caller gives up, or whatever the host's stream fails with
 */
export async function* resync(
  deps: ResyncDeps,
  wired: AsyncIterable<AttachCall>,
  ctx: OpContext,
): AsyncGenerator<ResyncEvent, void, undefined> {
  const snapshot = await takeSnapshot(deps, ctx)
  const seen = new Set<string>()
  const blocked: AttachCall[] = []

  const alone = (id: string): OpContext => ({ signal: deadline(ctx.signal, deps.callTimeoutMs), log: ctx.log.child({ key: id }) })

  const restore = async (call: AttachCall): Promise<ResyncEvent> => {
    const id = formatAttachmentKey(call.key)
    const maker = deps.networks.makerOf(snapshot.rows.get(id) ?? call)
    deps.attachments.claims.hold(call.key, call.had, maker)
    const unknown = maker === undefined ? undefined : snapshot.broken.get(maker)
    if (unknown !== undefined) throw unknown
    // A row that changed since the snapshot was written by a call that has just asked the adapter itself.
    const believe = (row: AttachmentRow): boolean => snapshot.held.has(id) || row.revision !== snapshot.rows.get(id)?.revision
    const { kept, result } = await deps.attachments.attach(call, alone(id), believe)
    deps.attachments.claims.drop(call.key)
    const before = call.had ?? snapshot.rows.get(id)?.result
    if (!kept)
      ctx.log.warn({ key: id, vf: formatVfId(call.vf), pod: call.pod, before, result }, 'attachment was missing and is attached again')
    return { key: call.key, action: kept ? 'kept' : 'reattached', result }
  }

  const first = async (call: AttachCall): Promise<ResyncEvent | undefined> => {
    seen.add(formatAttachmentKey(call.key))
    try {
      return await restore(call)
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'ALREADY_EXISTS') return failed(call.key, error)
      // Its VF is held by what may turn out to be a stray.
      blocked.push(call)
      return undefined
    }
  }

  /** What the host has on another VF is in the way of others where it is now. A failure shows when it is attached. */
  const vacate = async ({ key, vf }: AttachCall): Promise<undefined> => {
    const elsewhere = (row: AttachmentRow | undefined): boolean => row !== undefined && formatVfId(row.vf) !== formatVfId(vf)
    await deps.attachments.detach(key, alone(formatAttachmentKey(key)), elsewhere).catch(() => false)
  }

  const drop = async (key: AttachmentKey): Promise<ResyncEvent | undefined> => {
    const id = formatAttachmentKey(key)
    try {
      const untouched = (row: AttachmentRow | undefined): boolean => row?.revision === snapshot.rows.get(id)?.revision
      if (!(await deps.attachments.detach(key, alone(id), untouched))) return undefined
      ctx.log.warn({ key: id, pod: snapshot.rows.get(id)?.request.pod }, 'attachment that the host does not have is detached')
      return { key, action: 'detached' }
    } catch (error) {
      return failed(key, error)
    }
  }

  const run = async function* <T>(
    items: AsyncIterable<T>,
    work: (item: T) => Promise<ResyncEvent | undefined>,
  ): AsyncGenerator<ResyncEvent> {
    for await (const event of mapConcurrent(untilAborted(items, ctx.signal), deps.concurrency, work)) if (event !== undefined) yield event
    ctx.signal.throwIfAborted()
  }

  yield* run(wired, first)
  deps.attachments.claims.retain(seen)
  yield* run(each(strays(deps, snapshot, seen)), drop)
  yield* run(each(blocked), vacate)
  yield* run(each(blocked), (call) => restore(call).catch((error: unknown) => failed(call.key, error)))
}

/** What the agent or a network held when the resync began and the host did not name. */
const strays = (deps: ResyncDeps, snapshot: Snapshot, seen: ReadonlySet<string>): AttachmentKey[] => {
  const candidates = new Map([...snapshot.held, ...[...snapshot.rows].map(([id, row]) => [id, row.key] as const)])
  return [...candidates].flatMap(([id, key]) => {
    const made = snapshot.rows.get(id) ?? { key }
    const maker = deps.networks.makerOf(made)
    return seen.has(id) || !deps.networks.canEnd(made) || (maker !== undefined && snapshot.broken.has(maker)) ? [] : [key]
  })
}

const each = async function* <T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

/** Ends waiting for the next item when the signal aborts, whatever the source does. @throws the signal's reason */
const untilAborted = async function* <T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => undefined)
  const abort = (): void => {
    aborted.reject(signal.reason as Error)
  }
  signal.addEventListener('abort', abort, { once: true })
  const iterator = source[Symbol.asyncIterator]()
  let open = true
  try {
    signal.throwIfAborted()
    for (;;) {
      const step = await Promise.race([iterator.next(), aborted.promise])
      if (step.done === true) {
        open = false
        return
      }
      yield step.value
    }
  } finally {
    signal.removeEventListener('abort', abort)
    // Not awaited: a source that hangs in next() hangs in return() too.
    if (open) void iterator.return?.().catch(() => undefined)
  }
}
