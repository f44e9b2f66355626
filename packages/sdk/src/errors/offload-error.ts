import { ERROR_CODES, type ErrorCode, isErrorCode } from './codes.ts'

/** What an {@link OffloadError} may carry besides code and message. */
export interface OffloadErrorInit {
  /** What led to it; kept for logs and shown, shortened, in CNI `details`. */
  readonly cause?: unknown
  /** What the reader can do about it, as a sentence. */
  readonly hint?: string
}

/**
 * The one error type of cni-offload.
 *
 * The message says what happened and why, naming field and value; `hint` says what to do; `code` is stable and maps to
 * CNI and gRPC in {@link ERROR_CODES}.
 */
export class OffloadError extends Error {
  override readonly name = 'OffloadError'
  /** Stable machine-readable code. */
  readonly code: ErrorCode
  /** What the reader can do about it. */
  readonly hint: string | undefined

  /** Makes an error with a stable code, a message that says what and why, and optionally cause and remedy. */
  constructor(code: ErrorCode, message: string, init: OffloadErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause })
    this.code = code
    this.hint = init.hint
  }

  /** Whether the same call may succeed later without anybody changing its input. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable
  }

  /** Whether a value is an OffloadError, also one made by another copy of this package. */
  static is(value: unknown): value is OffloadError {
    return value instanceof Error && value.name === 'OffloadError' && 'code' in value && isErrorCode(String(value.code))
  }

  /**
   * Turns anything thrown into an OffloadError: one of ours stays as it is, an abort becomes CANCELLED or
   * DEADLINE_EXCEEDED, everything else gets the fallback code with the original as cause.
   */
  static from(value: unknown, fallback: ErrorCode = 'INTERNAL', what?: string): OffloadError {
    if (OffloadError.is(value)) return value
    const text = value instanceof Error ? value.message : String(value)
    const message = what === undefined ? text : `${what}: ${text}`
    if (value instanceof Error && value.name === 'TimeoutError') return new OffloadError('DEADLINE_EXCEEDED', message, { cause: value })
    if (value instanceof Error && value.name === 'AbortError') return new OffloadError('CANCELLED', message, { cause: value })
    return new OffloadError(fallback, message, { cause: value })
  }
}

/** The messages of an error's causes, outermost first, without repetitions, at most `depth` of them. */
export function causeMessages(error: unknown, depth = 5): string[] {
  const messages: string[] = []
  let current = error instanceof Error ? error.cause : undefined
  while (current !== undefined && messages.length < depth) {
    const text = current instanceof Error ? current.message : String(current)
    if (text !== '' && !messages.includes(text)) messages.push(text)
    current = current instanceof Error ? current.cause : undefined
  }
  return messages
}
