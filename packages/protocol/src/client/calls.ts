import { OffloadError, systemClock } from '@cni-offload/sdk'
import { type CallOptions, type Client, type Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { CallContext } from '../api.ts'
import type { Method } from '../codec/methods.ts'
import { errorFromStatus } from '../errors.ts'
import { requestMetadata } from '../request-id.ts'
import type { Link } from './link.ts'

const asIs = (bytes: Buffer): Buffer => bytes

/** What a call needs besides its method. */
export interface CallDeps {
  /** The gRPC client. */
  readonly client: Client
  /** Its connection. */
  readonly link: Link
  /** Address for messages. */
  readonly address: string
}

/** One attempt on the wire: what it got, or why not and whether it ever left. */
interface Sent {
  readonly failure?: ServiceError
  readonly reply?: Buffer
  readonly placed: boolean
}

/** Turns what a call failed with into our error; whoever aborted it explains why. */
export function callError(deps: CallDeps, what: string, error: unknown, ctx: CallContext, timeoutMs: number): OffloadError {
  if (OffloadError.is(error)) return error
  if (ctx.signal.aborted) return OffloadError.from(ctx.signal.reason, 'CANCELLED', `${what} was cancelled`)
  const failure = error as ServiceError
  const ours = errorFromStatus(failure, what)
  const foreign = failure.metadata?.get('offload-code').length !== 1
  if (foreign && failure.code === status.DEADLINE_EXCEEDED)
    return new OffloadError('DEADLINE_EXCEEDED', `${what} took longer than ${timeoutMs} ms`, { cause: error })
  if (foreign && failure.code === status.UNAVAILABLE) return deps.link.unreachable(error)
  return ours
}

function send(deps: CallDeps, path: string, bytes: Buffer, metadata: Metadata, options: CallOptions, signal: AbortSignal): Promise<Sent> {
  return new Promise((resolve) => {
    const cancel = (): void => call.cancel()
    const call = deps.client.makeUnaryRequest(path, asIs, asIs, bytes, metadata, options, (failure, reply) => {
      signal.removeEventListener('abort', cancel)
      const placed = call.getAuthContext() !== null
      resolve(failure === null ? { placed, ...(reply === undefined ? {} : { reply }) } : { placed, failure })
    })
    signal.addEventListener('abort', cancel, { once: true })
  })
}

/**
 * When a call has to be over, as gRPC wants it: by the wall clock, which it turns into a duration at once. Ours is kept by the monotonic
 * clock until then, since the wall clock may jump.
 */
const deadlineAt = (end: number): number => Date.now() + (end - performance.now())

/** Least time that must be left for a second attempt to make sense, in milliseconds. */
const RETRY_FLOOR_MS = 100

/**
 * One unary call with a deadline that includes waiting for the connection. Repeated once, after a short random pause, if the
 * connection went away before the call was put on it; a call that the agent may have seen is never repeated here.
 */
export async function unary<Call, Reply>(
  deps: CallDeps,
  method: Method<Call, Reply>,
  call: Call,
  ctx: CallContext,
  timeoutMs: number,
): Promise<Reply> {
  const what = `${method.name} on ${deps.address}`
  const bytes = method.call.encode(call)
  const end = performance.now() + timeoutMs
  for (let attempt = 0; ; attempt += 1) {
    await deps.link.ready(ctx.signal, end - performance.now())
    const sent = await send(deps, method.path, bytes, requestMetadata(ctx.requestId), { deadline: deadlineAt(end) }, ctx.signal)
    if (sent.reply !== undefined) return method.reply.decode(sent.reply)
    const again = attempt === 0 && !sent.placed && sent.failure?.code === status.UNAVAILABLE && !ctx.signal.aborted
    if (!again || end - performance.now() < RETRY_FLOOR_MS) throw callError(deps, what, sent.failure, ctx, timeoutMs)
    await systemClock.sleep(10 + Math.random() * 40, ctx.signal).catch((error: unknown) => {
      throw callError(deps, what, error, ctx, timeoutMs)
    })
  }
}

/** One call that answers a stream. Leaving the iteration early cancels the call. */
export async function* serverStream<Call, Reply>(
  deps: CallDeps,
  method: Method<Call, Reply>,
  call: Call,
  ctx: CallContext,
  timeoutMs: number,
): AsyncGenerator<Reply, void, undefined> {
  const what = `${method.name} on ${deps.address}`
  const bytes = method.call.encode(call)
  const end = performance.now() + timeoutMs
  await deps.link.ready(ctx.signal, timeoutMs)
  const deadline = deadlineAt(end)
  const stream = deps.client.makeServerStreamRequest(method.path, asIs, asIs, bytes, requestMetadata(ctx.requestId), { deadline })
  const cancel = (): void => stream.cancel()
  ctx.signal.addEventListener('abort', cancel, { once: true })
  try {
    for await (const reply of stream as AsyncIterable<Buffer>) yield method.reply.decode(reply)
  } catch (error) {
    throw callError(deps, what, error, ctx, timeoutMs)
  } finally {
    ctx.signal.removeEventListener('abort', cancel)
    stream.on('error', () => {})
    stream.cancel()
  }
}

/**
 * One call that streams both ways. The input is pulled as fast as the agent takes it, and `last` follows it; if it fails, the call is cancelled
 * and the iteration rejects with the input's error. Leaving the iteration early cancels the call and returns the input.
 */
export async function* bidi<Call, Reply>(
  deps: CallDeps,
  method: Method<Call, Reply>,
  input: AsyncIterable<Call>,
  last: Call,
  ctx: CallContext,
  timeoutMs: number,
): AsyncGenerator<Reply, void, undefined> {
  const what = `${method.name} on ${deps.address}`
  const end = performance.now() + timeoutMs
  await deps.link.ready(ctx.signal, timeoutMs)
  const deadline = deadlineAt(end)
  const stream = deps.client.makeBidiStreamRequest(method.path, asIs, asIs, requestMetadata(ctx.requestId), { deadline })
  const ended = new AbortController()
  const cancel = (): void => stream.cancel()
  ctx.signal.addEventListener('abort', cancel, { once: true })
  let inputError: OffloadError | undefined
  const pumped = pump(input, last, method, stream, ended.signal).catch((error: unknown) => {
    inputError = OffloadError.from(error, 'INTERNAL', `${what}: its input failed`)
    stream.cancel()
  })
  try {
    for await (const reply of stream as AsyncIterable<Buffer>) yield method.reply.decode(reply)
  } catch (error) {
    throw inputError ?? callError(deps, what, error, ctx, timeoutMs)
  } finally {
    ctx.signal.removeEventListener('abort', cancel)
    stream.on('error', () => {})
    stream.cancel()
    ended.abort()
    await pumped
  }
}

interface Sink {
  write(bytes: Buffer): boolean
  once(event: 'drain', listener: () => void): unknown
  end(): unknown
}

async function pump<Call>(
  input: AsyncIterable<Call>,
  last: Call,
  method: Method<Call, unknown>,
  sink: Sink,
  ended: AbortSignal,
): Promise<void> {
  const stop = new Promise<undefined>((resolve) => ended.addEventListener('abort', () => resolve(undefined), { once: true }))
  const items = input[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await Promise.race([items.next(), stop])
      if (next === undefined) return
      if (next.done === true) break
      if (!sink.write(method.call.encode(next.value)))
        await Promise.race([new Promise<void>((resolve) => sink.once('drain', resolve)), stop])
      if (ended.aborted) return
    }
    sink.write(method.call.encode(last))
    sink.end()
  } finally {
    // Not awaited: an input that is stuck in next() would never return.
    items.return?.().catch(() => {})
  }
}
