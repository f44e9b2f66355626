import { ERROR_CODES, type ErrorCode, isErrorCode, OffloadError } from '@cni-offload/sdk'
import { Metadata, status as grpcStatus, type StatusObject } from '@grpc/grpc-js'

const CODE = 'offload-code'
const MESSAGE = 'offload-message-bin'
const HINT = 'offload-hint-bin'

/** Longest message and hint that cross the wire, in UTF-16 units: the trailers of a call have a limited size. */
const MAX_MESSAGE = 8192
const MAX_HINT = 2048
/** For tools that show the plain gRPC status only; percent-encoding can make nine bytes of one character. */
const MAX_DETAILS = 1024

const shorten = (text: string, limit: number): string => (text.length <= limit ? text : `${text.slice(0, limit - 1)}…`).toWellFormed()

/** An error as gRPC status: the code from {@link ERROR_CODES}; our code, message and hint in the metadata. */
export function statusFromError(error: unknown): StatusObject {
  const { code, message, hint } = OffloadError.from(error)
  const metadata = new Metadata()
  metadata.set(CODE, code)
  metadata.set(MESSAGE, Buffer.from(shorten(message, MAX_MESSAGE)))
  if (hint !== undefined) metadata.set(HINT, Buffer.from(shorten(hint, MAX_HINT)))
  return { code: ERROR_CODES[code].grpc, details: shorten(message, MAX_DETAILS), metadata }
}

/** What a status that is not one of ours means. */
const FOREIGN: Readonly<Record<number, ErrorCode>> = {
  [grpcStatus.CANCELLED]: 'CANCELLED',
  [grpcStatus.INVALID_ARGUMENT]: 'UNDECODABLE',
  [grpcStatus.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [grpcStatus.NOT_FOUND]: 'NOT_FOUND',
  [grpcStatus.ALREADY_EXISTS]: 'ALREADY_EXISTS',
  [grpcStatus.PERMISSION_DENIED]: 'PERMISSION_DENIED',
  [grpcStatus.RESOURCE_EXHAUSTED]: 'RESOURCE_EXHAUSTED',
  [grpcStatus.FAILED_PRECONDITION]: 'NOT_READY',
  [grpcStatus.UNIMPLEMENTED]: 'INCOMPATIBLE_PEER',
  [grpcStatus.UNAVAILABLE]: 'AGENT_UNREACHABLE',
  [grpcStatus.UNAUTHENTICATED]: 'PERMISSION_DENIED',
}

/** What the status says of a code that only a newer peer knows: the call itself was understood. */
const UNKNOWN_CODE: Readonly<Record<number, ErrorCode>> = {
  ...FOREIGN,
  [grpcStatus.INVALID_ARGUMENT]: 'INVALID_NETCONF',
  [grpcStatus.UNKNOWN]: 'ADAPTER_FAILED',
}

/**
 * What a peer calls an error, in our terms: its own code, or, where only a newer peer knows that, what its gRPC status says, with the code
 * in the message.
 */
export function readCode(code: string, message: string, status: number): { readonly code: ErrorCode; readonly message: string } {
  if (isErrorCode(code)) return { code, message }
  return { code: UNKNOWN_CODE[status] ?? 'INTERNAL', message: `${message} (${shorten(code, 64)}, a code of a newer release)` }
}

const textOf = (metadata: Metadata | undefined, key: string): string | undefined => {
  const value = metadata?.get(key)[0]
  return value === undefined ? undefined : value.toString()
}

/**
 * A gRPC status as error. One that carries our metadata comes back as it was thrown, also one with a code of a newer release; any other
 * is mapped by its status.
 *
 * @param from - the status, normally the ServiceError of a call
 * @param what - the call in words, for the message of a foreign status: `attach on tcp://10.0.0.1:8000`
 */
export function errorFromStatus(from: Partial<StatusObject>, what: string): OffloadError {
  const code = textOf(from.metadata, CODE)
  const details = from.details ?? 'no reason given'
  const number = from.code ?? grpcStatus.UNKNOWN
  if (code !== undefined) {
    const hint = textOf(from.metadata, HINT)
    const read = readCode(code, textOf(from.metadata, MESSAGE) ?? details, number)
    return new OffloadError(read.code, read.message, { cause: from, ...(hint === undefined ? {} : { hint }) })
  }
  const mapped = FOREIGN[number] ?? 'INTERNAL'
  const name = grpcStatus[number] ?? String(number)
  if (mapped === 'INCOMPATIBLE_PEER')
    return new OffloadError(mapped, `${what}: the peer does not know this method (${details})`, {
      cause: from,
      hint: 'Upgrade the older of host daemon and agent.',
    })
  return new OffloadError(mapped, `${what}: ${details} (gRPC ${name})`, { cause: from })
}
