import type { AttachmentKey, CniAdapter, OpContext } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import { unlessAborted } from '../runtime/unless-aborted.ts'

/**
 * What an adapter holds. One that does not answer in time is given up on, whether it heeds its signal or not.
 *
 * @param timeoutMs - longest that it may take, milliseconds
 * @throws the signal's reason, a `TimeoutError` when the time is up, or what the adapter throws
 */
export async function heldKeys(adapter: CniAdapter, ctx: OpContext, timeoutMs: number): Promise<AttachmentKey[]> {
  const signal = deadline(ctx.signal, timeoutMs)
  signal.throwIfAborted()
  return await unlessAborted(adapter.list({ ...ctx, signal }), signal)
}
