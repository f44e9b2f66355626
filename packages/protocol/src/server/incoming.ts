import { OffloadError } from '@cni-offload/sdk'
import type { ServerUnaryCall } from '@grpc/grpc-js'
import type { CallContext, PeerIdentity } from '../api.ts'
import { identityFromSan, identityUri } from '../identity.ts'
import { requestIdOf } from '../request-id.ts'
import type { ActiveCalls } from './active-calls.ts'

/** What grpc-js's calls of every kind have in common. */
type ServerSurfaceCall = Pick<ServerUnaryCall<Buffer, Buffer>, 'getAuthContext' | 'getDeadline' | 'metadata' | 'cancelled'> & {
  once(event: 'cancelled', listener: () => void): unknown
  off(event: 'cancelled', listener: () => void): unknown
}

/** A call that is being served. */
export interface Incoming {
  /** For the handler; its signal aborts when the caller cancelled, went away or its deadline passed. */
  readonly ctx: CallContext & { readonly peer: PeerIdentity }
  /** The caller is gone, as far as the handler is concerned. Returns the signal's reason. */
  cut(): unknown
  /** The handler is done: what happens to the call from now on aborts nothing. */
  close(): void
}

/**
 * The HTTP/2 session of a call, or undefined if grpc-js should ever hide it better: it has no public way to it, and reading
 * the certificate anew costs a tenth of a call. A session's certificate never changes (TLS 1.3 cannot renegotiate).
 */
function sessionOf(call: ServerSurfaceCall): object | undefined {
  let at: unknown = call
  for (const field of ['call', 'stream', 'session']) at = typeof at === 'object' && at !== null ? Reflect.get(at, field) : undefined
  return typeof at === 'object' && at !== null ? at : undefined
}

/** Who is at the other end of each session, as long as the session lives. */
export type Identities = WeakMap<object, PeerIdentity>

function authenticate(call: ServerSurfaceCall, identities: Identities): PeerIdentity {
  const session = sessionOf(call)
  const known = session === undefined ? undefined : identities.get(session)
  if (known !== undefined) return known
  const certificate = call.getAuthContext().sslPeerCertificate
  const peer = identityFromSan(certificate?.subjectaltname)
  if (peer === undefined)
    throw new OffloadError(
      'PERMISSION_DENIED',
      `the client's certificate carries no identity of ours: ${certificate?.subjectaltname ?? 'it has no SAN'}`,
      {
        hint: 'A host needs a certificate with the URI SAN spiffe://cni-offload/host/<node>.',
      },
    )
  if (peer.role !== 'host')
    throw new OffloadError('PERMISSION_DENIED', `only hosts may call the agent, the client's certificate names ${identityUri(peer)}`)
  if (session !== undefined) identities.set(session, peer)
  return peer
}

/** What it takes to let a call in. */
export interface Entrance {
  /** Who is at the other end of each session, remembered. */
  readonly identities: Identities
  /** Throws if the peer has no right to call. */
  readonly authorize: ((peer: PeerIdentity) => void) | undefined
  /** The calls under way. */
  readonly active: ActiveCalls
}

/** By how much a timer may be early, and the wall clock cut off, in milliseconds. */
const TIMER_MS = 2

/**
 * Finds out who calls and prepares what the handler gets.
 *
 * @throws OffloadError PERMISSION_DENIED, or whatever `authorize` throws; AGENT_UNREACHABLE during a drain
 */
export function openCall(call: ServerSurfaceCall, entrance: Entrance): Incoming {
  const peer = authenticate(call, entrance.identities)
  entrance.authorize?.(peer)
  entrance.active.enter()
  const abort = new AbortController()
  const deadline = call.getDeadline()
  // gRPC tells it by the wall clock, which may jump while the call runs.
  const left = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now()
  const end = performance.now() + left - TIMER_MS
  const cancelled = (): void => {
    const late = performance.now() >= end
    abort.abort(
      late
        ? new OffloadError('DEADLINE_EXCEEDED', "the caller's deadline passed")
        : new OffloadError('CANCELLED', 'the caller cancelled the call or its connection is gone'),
    )
  }
  if (call.cancelled) cancelled()
  else call.once('cancelled', cancelled)
  const requestId = requestIdOf(call.metadata)
  const ctx = {
    signal: abort.signal,
    peer,
    ...(Number.isFinite(left) ? { timeoutMs: Math.max(0, left) } : {}),
    ...(requestId === undefined ? {} : { requestId }),
  }
  return {
    ctx,
    cut() {
      cancelled()
      return abort.signal.reason
    },
    close() {
      call.off('cancelled', cancelled)
      entrance.active.leave()
    },
  }
}

/** Rejects with the signal's reason when it aborts; for racing. The returned function gives the listener back. */
export function whenAborted(signal: AbortSignal): { readonly aborted: Promise<never>; dispose(): void } {
  let listener = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    listener = () => reject(signal.reason as Error)
    if (signal.aborted) listener()
    else signal.addEventListener('abort', listener, { once: true })
  })
  aborted.catch(() => {})
  return { aborted, dispose: () => signal.removeEventListener('abort', listener) }
}
