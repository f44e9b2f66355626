import { attachResult, type AttachResult, type CniAdapter, OffloadError, type OpContext, parseWith, type PortRef } from '@cni-offload/sdk'
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
  return parseWith(attachResult, answer, `result of adapter "${adapter.name}"`, 'ADAPTER_FAILED')
}

/** Why an attach has failed: what the caller did comes before what the adapter says. */
export function attachFailure(adapter: CniAdapter, error: unknown, { signal }: OpContext): OffloadError {
  return signal.aborted
    ? OffloadError.from(signal.reason, 'CANCELLED')
    : OffloadError.from(error, 'ADAPTER_FAILED', `adapter "${adapter.name}"`)
}
