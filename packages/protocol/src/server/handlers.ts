import type { Logger } from '@cni-offload/sdk'
import { OffloadError } from '@cni-offload/sdk'
import type { handleBidiStreamingCall, handleServerStreamingCall, handleUnaryCall, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { AttachCall, CallContext, OffloadApi } from '../api.ts'
import { type Codec, type Method, METHODS, type ResyncMessage } from '../codec/methods.ts'
import { statusFromError } from '../errors.ts'
import { type Entrance, openCall, whenAborted } from './incoming.ts'

/** What the handlers need. */
export interface HandlerDeps extends Entrance {
  /** The implementation that is served. */
  readonly api: OffloadApi
  /** Where defects are logged. */
  readonly log: Logger
}

const refuse = (deps: HandlerDeps, method: { readonly name: string }, error: unknown): ReturnType<typeof statusFromError> => {
  if (OffloadError.from(error).code === 'INTERNAL') deps.log.error({ err: error, method: method.name }, 'a handler failed unexpectedly')
  return statusFromError(error)
}

function unary<Call, Reply>(
  deps: HandlerDeps,
  method: Method<Call, Reply>,
  run: (call: Call, ctx: CallContext) => Promise<Reply>,
): handleUnaryCall<Buffer, Buffer> {
  const serve = async (call: Parameters<handleUnaryCall<Buffer, Buffer>>[0]): Promise<Buffer> => {
    const incoming = openCall(call, deps)
    try {
      return method.reply.encode(await run(method.call.decode(call.request), incoming.ctx))
    } finally {
      incoming.close()
    }
  }
  return (call, callback) => {
    serve(call).then(
      (bytes) => callback(null, bytes),
      (error: unknown) => callback(refuse(deps, method, error)),
    )
  }
}

/** The part of grpc-js's writable and duplex calls that an answer needs. */
interface AnswerStream {
  write(bytes: Buffer): boolean
  once(event: 'drain', listener: () => void): unknown
  end(): unknown
  emit(event: 'error', status: object): boolean
}

async function answer<Reply>(stream: AnswerStream, codec: Codec<Reply>, replies: AsyncIterable<Reply>, signal: AbortSignal): Promise<void> {
  const abort = whenAborted(signal)
  const items = replies[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await Promise.race([items.next(), abort.aborted])
      if (next.done === true) return
      const room = stream.write(codec.encode(next.value))
      if (!room) await Promise.race([new Promise<void>((resolve) => stream.once('drain', resolve)), abort.aborted])
    }
  } finally {
    abort.dispose()
    // Not awaited: a handler that ignores its signal would hold the call for ever.
    items.return?.().catch(() => {})
  }
}

function list(deps: HandlerDeps): handleServerStreamingCall<Buffer, Buffer> {
  const method = METHODS.list
  const serve = async (call: Parameters<handleServerStreamingCall<Buffer, Buffer>>[0]): Promise<void> => {
    const incoming = openCall(call, deps)
    try {
      method.call.decode(call.request)
      const states = await deps.api.list(incoming.ctx)
      await answer(
        call,
        method.reply,
        (async function* () {
          yield* states
        })(),
        incoming.ctx.signal,
      )
    } finally {
      incoming.close()
    }
  }
  return (call) => {
    serve(call).then(
      () => call.end(),
      (error: unknown) => call.emit('error', refuse(deps, method, error)),
    )
  }
}

/** @param isLast - tells the message after which nothing is expected; without it the caller has gone away */
function bidi<Call, Reply>(
  deps: HandlerDeps,
  method: Method<Call, Reply>,
  isLast: (message: Call) => boolean,
  run: (input: AsyncIterable<Call>, ctx: CallContext) => AsyncIterable<Reply>,
): handleBidiStreamingCall<Buffer, Buffer> {
  const serve = async (call: Parameters<handleBidiStreamingCall<Buffer, Buffer>>[0]): Promise<void> => {
    const incoming = openCall(call, deps)
    const { signal } = incoming.ctx
    const input = async function* (): AsyncGenerator<Call, void, undefined> {
      try {
        // Ending the iteration must not destroy the call: the answers still go out over it.
        for await (const bytes of call.iterator({ destroyOnReturn: false })) {
          const message = method.call.decode(bytes as Buffer)
          yield message
          if (isLast(message)) return
        }
      } catch (error) {
        throw signal.aborted ? signal.reason : error
      }
      // A reset stream ends like a complete one, before anything says that it was cancelled.
      throw incoming.cut()
    }
    try {
      await answer(call, method.reply, run(input(), incoming.ctx), signal)
    } finally {
      incoming.close()
    }
  }
  return (call) => {
    serve(call).then(
      () => call.end(),
      (error: unknown) => call.emit('error', refuse(deps, method, error)),
    )
  }
}

async function* attachments(messages: AsyncIterable<ResyncMessage>): AsyncGenerator<AttachCall, void, undefined> {
  for await (const message of messages) if (message !== 'complete') yield message
}

/** The service's handlers over an implementation. Whatever arrives and whatever the implementation throws becomes a status. */
export function createHandlers(deps: HandlerDeps): UntypedServiceImplementation {
  const { api } = deps
  return {
    handshake: unary(deps, METHODS.handshake, (call, ctx) => api.handshake(call, ctx)),
    attach: unary(deps, METHODS.attach, (call, ctx) => api.attach(call, ctx)),
    detach: unary(deps, METHODS.detach, (call, ctx) => api.detach(call, ctx)),
    check: unary(deps, METHODS.check, (call, ctx) => api.check(call, ctx)),
    status: unary(deps, METHODS.status, (call, ctx) => api.status(call, ctx)),
    list: list(deps),
    resync: bidi(
      deps,
      METHODS.resync,
      (message) => message === 'complete',
      (messages, ctx) => api.resync(attachments(messages), ctx),
    ),
    heartbeat: bidi(
      deps,
      METHODS.heartbeat,
      ({ stopping }) => stopping,
      (beats, ctx) => api.heartbeat(beats, ctx),
    ),
  }
}
