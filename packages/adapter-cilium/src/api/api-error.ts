import { type ErrorCode, OffloadError } from '@cni-offload/sdk'

/** How a call of the agent's API failed. */
export type ApiFailureKind =
  /** Nobody listens: the call was certainly not worked on. */
  | 'unreachable'
  /** The connection ended, or nothing came in time: nobody knows whether the call was worked on. */
  | 'broken'
  /** The agent answered with a status that is no success, or not as it should. */
  | 'answer'

/** What a {@link CiliumApiError} says besides code and message. */
export interface ApiFailureDetails {
  /** How it failed. */
  readonly kind: ApiFailureKind
  /** HTTP status, where there was an answer. */
  readonly status?: number
  /** What the agent said, as text. */
  readonly text?: string
  /** What led to it. */
  readonly cause?: unknown
  /** What the reader can do. */
  readonly hint?: string
}

/** A call of the agent's API that failed. */
export class CiliumApiError extends OffloadError {
  /** How it failed. */
  readonly kind: ApiFailureKind
  /** HTTP status; undefined where there was no answer. */
  readonly status: number | undefined
  /** What the agent said; empty if nothing. */
  readonly text: string

  /** Makes an error. */
  constructor(code: ErrorCode, message: string, { kind, status, text = '', cause, hint }: ApiFailureDetails) {
    super(code, message, { cause, ...(hint === undefined ? {} : { hint }) })
    this.kind = kind
    this.status = status
    this.text = text
  }

  /** Whether the agent is too busy, still starting or away: the same call may succeed soon. */
  get passing(): boolean {
    return this.kind === 'unreachable' || this.status === 429 || this.status === 503
  }

  /** Whether the agent does not hold the addresses of the endpoint any more, or holds them for another one: it was restarted. */
  get addressesForgotten(): boolean {
    return this.status === 500 && /expiration timer/.test(this.text)
  }
}

const HINTS: Readonly<Record<number, string>> = {
  403: 'Allow the call in the agent: enable-cilium-api-server-access.',
  429: 'Raise the limit of this call: --api-rate-limit, Helm value apiRateLimit.',
  503: 'The agent is starting; it answers when its endpoints are restored.',
}

const CODES: Readonly<Record<number, ErrorCode>> = { 429: 'RESOURCE_EXHAUSTED', 502: 'RESOURCE_EXHAUSTED', 503: 'NOT_READY' }

/** Our code for a status that is no success. */
export const codeOf = (status: number): ErrorCode => CODES[status] ?? 'ADAPTER_FAILED'

/** What the reader of such a status can do; undefined where nothing general can be said. */
export const hintOf = (status: number): string | undefined => HINTS[status]

/** The error for an answer that is no success. @param body - as it came */
export function answerError(operation: string, status: number, body: string): CiliumApiError {
  const text = errorText(body)
  const hint = hintOf(status)
  return new CiliumApiError(codeOf(status), `cilium-agent answered ${operation} with ${status}${text === '' ? '' : `: ${text}`}`, {
    kind: 'answer',
    status,
    text,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** What an error's body says: a JSON string by the agent, an object by the framework that it is made with, or nothing. */
function errorText(body: string): string {
  const short = body.trim().slice(0, 1024)
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'string') return value.slice(0, 1024)
    if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message).slice(0, 1024)
  } catch {
    // Not JSON: the text itself is what there is.
  }
  return short
}
