import { OffloadError } from '@cni-offload/sdk'
import type { AttachCall, AttachmentState, CallContext, OffloadApi, PeerIdentity } from './api.ts'
import { type Codec, type Method, METHODS, type ResyncMessage } from './codec/methods.ts'
import { errorFromStatus, statusFromError } from './errors.ts'

/** Longest timer that Node can set. */
const LONGEST_MS = 2_147_483_647

const copy = <T>(codec: Codec<T>, value: T): T => codec.decode(codec.encode(value))

const across = (error: unknown, what: string): OffloadError => errorFromStatus(statusFromError(error), what)

/** The call's own deadline, as the network would enforce it, on top of the caller's signal. */
function bounded(
  ctx: CallContext,
  peer: PeerIdentity,
  what: string,
  fallbackMs: number,
): { readonly ctx: CallContext; readonly stop: Promise<never>; close(): void } {
  const timeoutMs = ctx.timeoutMs ?? fallbackMs
  const abort = new AbortController()
  const stop = Promise.withResolvers<never>()
  stop.promise.catch(() => {})
  const end = (remote: OffloadError, local: OffloadError): void => {
    abort.abort(remote)
    stop.reject(local)
  }
  const timer = setTimeout(() => {
    end(
      new OffloadError('DEADLINE_EXCEEDED', "the caller's deadline passed"),
      new OffloadError('DEADLINE_EXCEEDED', `${what} took longer than ${timeoutMs} ms`),
    )
  }, timeoutMs)
  const cancelled = (): void =>
    end(
      new OffloadError('CANCELLED', 'the caller cancelled the call or its connection is gone'),
      OffloadError.from(ctx.signal.reason, 'CANCELLED', `${what} was cancelled`),
    )
  if (ctx.signal.aborted) cancelled()
  else ctx.signal.addEventListener('abort', cancelled, { once: true })
  return {
    ctx: { signal: abort.signal, timeoutMs, peer, ...(ctx.requestId === undefined ? {} : { requestId: ctx.requestId }) },
    stop: stop.promise,
    close() {
      clearTimeout(timer)
      ctx.signal.removeEventListener('abort', cancelled)
    },
  }
}

/**
 * A client of an {@link OffloadApi} in the same process: no socket, but the true way of every message and error through
 * encoding, validation and decoding, with the same deadlines and cancellation.
 *
 * @param peer - who the implementation is told that calls
 */
export function createInMemoryClient(api: OffloadApi, peer: PeerIdentity): OffloadApi {
  const unary = async <Call, Reply>(
    method: Method<Call, Reply>,
    call: Call,
    ctx: CallContext,
    run: (call: Call, ctx: CallContext) => Promise<Reply>,
  ): Promise<Reply> => {
    const bytes = method.call.encode(call)
    const limits = bounded(ctx, peer, method.name, 10_000)
    const served = async (): Promise<Reply> => {
      try {
        return copy(method.reply, await run(method.call.decode(bytes), limits.ctx))
      } catch (error) {
        throw across(error, method.name)
      }
    }
    try {
      return await (limits.ctx.signal.aborted ? limits.stop : Promise.race([served(), limits.stop]))
    } finally {
      limits.close()
    }
  }
  const bidi = async function* <Call, Reply>(
    method: Method<Call, Reply>,
    messages: AsyncIterable<Call>,
    last: Call,
    ctx: CallContext,
    fallbackMs: number,
    run: (messages: AsyncIterable<Call>, ctx: CallContext) => AsyncIterable<Reply>,
  ): AsyncGenerator<Reply, void, undefined> {
    const limits = bounded(ctx, peer, method.name, fallbackMs)
    let inputError: OffloadError | undefined
    const input = async function* (): AsyncGenerator<Call, void, undefined> {
      try {
        const items = messages[Symbol.asyncIterator]()
        try {
          for (;;) {
            const next = await Promise.race([items.next(), limits.stop])
            yield copy(method.call, next.done === true ? last : next.value)
            if (next.done === true) return
          }
        } finally {
          items.return?.().catch(() => {})
        }
      } catch (error) {
        if (limits.ctx.signal.aborted) throw limits.ctx.signal.reason
        inputError = OffloadError.from(error, 'INTERNAL', `${method.name}: its input failed`)
        throw inputError
      }
    }
    const events = run(input(), limits.ctx)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await Promise.race([events.next(), limits.stop])
        if (next.done === true) return
        yield copy(method.reply, next.value)
      }
    } catch (error) {
      throw inputError ?? across(error, method.name)
    } finally {
      limits.close()
      events.return?.().catch(() => {})
    }
  }
  return {
    handshake: (call, ctx) => unary(METHODS.handshake, call, ctx, (message, inner) => api.handshake(message, inner)),
    attach: (call, ctx) => unary(METHODS.attach, call, ctx, (message, inner) => api.attach(message, inner)),
    detach: (call, ctx) => unary(METHODS.detach, call, ctx, (message, inner) => api.detach(message, inner)),
    check: (call, ctx) => unary(METHODS.check, call, ctx, (message, inner) => api.check(message, inner)),
    status: (call, ctx) => unary(METHODS.status, call, ctx, (message, inner) => api.status(message, inner)),
    async list(ctx) {
      const { list } = METHODS
      const limits = bounded(ctx, peer, list.name, 10_000)
      const served = async (): Promise<AttachmentState[]> => {
        try {
          return (await api.list(limits.ctx)).map((state) => copy(list.reply, state))
        } catch (error) {
          throw across(error, list.name)
        }
      }
      try {
        return await Promise.race([served(), limits.stop])
      } finally {
        limits.close()
      }
    },
    resync: (wired, ctx) =>
      bidi(METHODS.resync, wired, 'complete', ctx, 600_000, (messages, inner) => api.resync(attachments(messages), inner)),
    heartbeat: (beats, ctx) =>
      bidi(METHODS.heartbeat, beats, { stopping: true }, ctx, LONGEST_MS, (messages, inner) => api.heartbeat(messages, inner)),
  }
}

async function* attachments(messages: AsyncIterable<ResyncMessage>): AsyncGenerator<AttachCall, void, undefined> {
  for await (const message of messages) if (message !== 'complete') yield message
}
