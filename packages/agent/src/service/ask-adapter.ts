import {
  askedVfSettings,
  attachResult,
  type AttachResult,
  type CniAdapter,
  OffloadError,
  type OpContext,
  parseWith,
  type PortRef,
} from '@cni-offload/sdk'
import type { AttachCall } from '@cni-offload/protocol'
import { toRequest } from './adapter-request.ts'

/**
 * Has an adapter attach what a call asks for. Its answer comes from outside and is parsed.
 *
 * @param had - what a running pod has and keeps
 * @throws OffloadError ADAPTER_FAILED, or whatever the adapter throws
 */
export async function askAdapter(
  adapter: CniAdapter,
  call: AttachCall,
  port: PortRef,
  ctx: OpContext,
  had?: AttachResult,
): Promise<AttachResult> {
  const answer = await adapter.attach(toRequest(call, port, had), ctx)
  const result = parseWith(attachResult, answer, `result of adapter "${adapter.name}"`, 'ADAPTER_FAILED')
  assertEnforceable(adapter, call, result)
  return result
}

/** A host of before would not even read what is asked of it, and the pod would run without. */
function assertEnforceable(adapter: CniAdapter, { hostEnforces = [] }: AttachCall, { vf }: AttachResult): void {
  const beyond = askedVfSettings(vf).filter((setting) => !hostEnforces.includes(setting))
  if (beyond.length === 0) return
  throw new OffloadError(
    'ADAPTER_FAILED',
    `adapter "${adapter.name}" asks the host to enforce ${beyond.join(', ')}; it can enforce ${hostEnforces.join(', ') || 'nothing'}`,
    { hint: 'A defect of the adapter: it may ask for what `hostEnforces` of the request names, and for nothing else.' },
  )
}

/** Why an attach has failed: what the caller did comes before what the adapter says. */
export function attachFailure(adapter: CniAdapter, error: unknown, { signal }: OpContext): OffloadError {
  return signal.aborted
    ? OffloadError.from(signal.reason, 'CANCELLED')
    : OffloadError.from(error, 'ADAPTER_FAILED', `adapter "${adapter.name}"`)
}
