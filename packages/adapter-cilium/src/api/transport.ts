import { request } from 'node:http'
import { OffloadError } from '@cni-offload/sdk'
import { CiliumApiError } from './api-error.ts'

/** One request. */
export interface HttpRequest {
  /** Whether the answer is needed even if the caller has just given up. */
  readonly takes?: boolean
  /** HTTP method. */
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** Path and query, as they go over the wire. */
  readonly path: string
  /** Headers besides those of every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Body, to be written as JSON. */
  readonly body?: unknown
}

/** One answer. */
export interface HttpReply {
  /** HTTP status. */
  readonly status: number
  /** Body. */
  readonly text: string
}

/**
 * A request that takes something from the agent is not cut off at once when its caller gives up: for this long, milliseconds, its
 * answer is still of use, because only with it can be given back what was taken.
 */
const LINGER_MS = 1_000

/** Larger answers are refused, bytes: a list of 10,000 endpoints is about a third of it. */
const LARGEST_REPLY = 64 << 20

const NOBODY = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'])

/** Somebody did listen, and is gone. */
const GONE = new Set(['ECONNRESET', 'EPIPE'])

/**
 * Sends one request over a unix socket, each over a connection of its own: an agent that restarts leaves dead ones behind.
 *
 * @param timeoutMs - longest that it may take, milliseconds
 * @throws CiliumApiError unreachable or broken; OffloadError CANCELLED or DEADLINE_EXCEEDED when the signal aborts
 */
export async function exchange(socket: string, asked: HttpRequest, timeoutMs: number, signal: AbortSignal): Promise<HttpReply> {
  const what = `${asked.method} ${asked.path}`
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', what)
  using callers = asked.takes === true ? lingering(signal) : { signal, [Symbol.dispose]: () => {} }
  try {
    return await send(socket, asked, AbortSignal.any([callers.signal, AbortSignal.timeout(timeoutMs)]))
  } catch (error) {
    if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', what)
    if (OffloadError.is(error)) throw error
    throw failure(socket, what, timeoutMs, error)
  }
}

/** A signal that aborts some time after another. */
function lingering(signal: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const abort = (): void => {
    timer = setTimeout(() => late.abort(signal.reason), LINGER_MS)
  }
  signal.addEventListener('abort', abort, { once: true })
  return {
    signal: late.signal,
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', abort)
      clearTimeout(timer)
    },
  }
}

function failure(socket: string, what: string, timeoutMs: number, error: unknown): CiliumApiError {
  const { code = '', message } = error as NodeJS.ErrnoException
  if (NOBODY.has(code))
    return new CiliumApiError('NOT_READY', `socket = ${socket}: no cilium-agent listens (${code})`, {
      kind: 'unreachable',
      cause: error,
      hint: 'Is cilium-agent running on the DPU, and is "socket" the path that it listens on?',
    })
  if (code === 'EACCES')
    return new CiliumApiError('NOT_READY', `socket = ${socket}: not allowed to connect (EACCES)`, {
      kind: 'unreachable',
      cause: error,
      hint: 'The socket belongs to root and the group "cilium".',
    })
  if (GONE.has(code))
    return new CiliumApiError('NOT_READY', `${what} at ${socket}: cilium-agent has ended the connection without an answer (${message})`, {
      kind: 'broken',
      cause: error,
      hint: 'Was it restarted just now? Then the next attempt succeeds.',
    })
  const why = code === 'ABORT_ERR' ? `nothing came within ${timeoutMs} ms` : message
  return new CiliumApiError('ADAPTER_FAILED', `${what} at ${socket}: ${why}`, { kind: 'broken', cause: error })
}

function send(socket: string, { method, path, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
  const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const { promise, resolve, reject } = Promise.withResolvers<HttpReply>()
  const call = request(
    {
      socketPath: socket,
      agent: false,
      method,
      path,
      signal,
      headers: {
        accept: 'application/json',
        // Without its length, Node does not frame the body of a DELETE or GET, and the agent reads it as another request.
        ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': content.length }),
        ...headers,
      },
    },
    (reply) => {
      const chunks: Buffer[] = []
      let size = 0
      reply.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > LARGEST_REPLY) call.destroy(new Error(`the answer is larger than ${LARGEST_REPLY} bytes`))
        else chunks.push(chunk)
      })
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }))
      reply.on('error', reject)
    },
  )
  call.on('error', reject)
  call.end(content)
  return promise
}
