import assert from 'node:assert/strict'
import { type ErrorCode, OffloadError, type OpContext, silentLogger } from '@cni-offload/sdk'

/** A context whose signal aborts only when an operation hangs. */
export function freshContext(timeoutMs: number = 20_000): OpContext {
  return { signal: AbortSignal.timeout(timeoutMs), log: silentLogger }
}

/** A context whose caller has already given up. */
export function abortedContext(): OpContext {
  return { signal: AbortSignal.abort(new OffloadError('CANCELLED', 'the caller gave up')), log: silentLogger }
}

/** Asserts that an operation rejects with an OffloadError of one of the codes, and returns the error. */
export async function assertRefused(operation: Promise<unknown>, codes: readonly ErrorCode[], what: string): Promise<OffloadError> {
  try {
    await operation
  } catch (error) {
    assert.ok(OffloadError.is(error), `${what}: rejects with an OffloadError, not with ${String(error)}`)
    assert.ok(codes.includes(error.code), `${what}: rejects with ${codes.join(' or ')}, not with ${error.code} (${error.message})`)
    return error
  }
  return assert.fail(`${what}: must be refused with ${codes.join(' or ')}, but succeeded`)
}

/** Runs tasks at the same time, waits for all of them, then throws the first failure: nothing is left running behind a case. */
export async function together<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(tasks)
  return settled.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}
