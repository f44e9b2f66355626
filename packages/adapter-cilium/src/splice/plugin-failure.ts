import { OffloadError } from '@cni-offload/sdk'
import { PluginError } from '@cni-offload/sdk/exec'
import { CiliumApiError, codeOf, hintOf } from '../api/api-error.ts'

/** File name of Cilium's plugin. */
export const CILIUM_CNI = 'cilium-cni'

/**
 * How the plugin shows an answer of the agent: `[PUT /endpoint/{id}][429] putEndpointIdTooManyRequests …`, and one that its release does
 * not know: `[PUT /endpoint/{id}] PutEndpointID (status 503): {}`.
 */
const ANSWER = /\[[A-Z]+ \/[^\]]*\](\[| .*\(status )(?<status>\d{3})[\])]/

/** How it shows that nobody listens, and of a DEL that it could not even leave it to the agent for later. */
const NOBODY =
  /unable to connect to cilium agent|failed to create cilium agent client|client failed: |failed to acquire (lock|deletion queue)|deletion queue directory .* too many|dial unix \S+: connect: /i

/** How it shows that somebody did listen and is gone, so that it does not know what became of a request. */
const GONE = /(: |unexpected )EOF\b|connection reset by peer|broken pipe/

/** How it shows that nothing came in time, and likewise. */
const LATE = /context deadline exceeded|client timeout exceeded/i

/** CNI's code for "try again later": what CHECK answers where nobody listens. */
const TRY_AGAIN_LATER = 11

/**
 * What Cilium's plugin failed with, told as the client of the agent's API would tell it. The plugin prints what the agent answered as
 * text; an error of another kind or of another plugin comes back as it is.
 */
export function apiFailure(error: unknown): unknown {
  if (!OffloadError.is(error) || !(error.cause instanceof PluginError) || error.cause.type !== CILIUM_CNI) return error
  const { cause, message } = error
  const text = cause.message
  const status = Number(ANSWER.exec(text)?.groups?.['status'] ?? 0)
  if (status !== 0) {
    const hint = hintOf(status)
    const details = { kind: 'answer', status, text, cause, ...(hint === undefined ? {} : { hint }) } as const
    return new CiliumApiError(codeOf(status), message, details)
  }
  if (NOBODY.test(text) || cause.pluginCode === TRY_AGAIN_LATER)
    return new CiliumApiError('NOT_READY', `cilium-agent does not answer: ${message}`, {
      kind: 'unreachable',
      text,
      cause,
      hint: 'Does it run on the DPU?',
    })
  if (GONE.test(text))
    return new CiliumApiError('NOT_READY', `cilium-agent has ended the connection without an answer: ${message}`, {
      kind: 'broken',
      text,
      cause,
      hint: 'Was it restarted just now? Then the next attempt succeeds.',
    })
  return LATE.test(text) ? new CiliumApiError('ADAPTER_FAILED', message, { kind: 'broken', text, cause }) : error
}

/**
 * Whether a DEL failed only because the namespace is gone, and the interface with it: up to 1.18 that is an error, told when all else is
 * done.
 */
export function lacksNamespace(error: unknown): boolean {
  if (!OffloadError.is(error) || !(error.cause instanceof PluginError)) return false
  const { type, verb, message } = error.cause
  return type === CILIUM_CNI && verb === 'DEL' && /opening netns pinned at .*: no such file or directory/.test(message)
}

/** Whether the plugin said what it failed with, so that the agent does not go on with it. */
export function isCertain(failure: unknown): boolean {
  if (failure instanceof CiliumApiError) return failure.kind !== 'broken'
  return OffloadError.is(failure) && failure.cause instanceof PluginError && failure.cause.pluginCode !== undefined
}
