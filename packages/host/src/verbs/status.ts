import { OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * STATUS: whether an ADD for a network could be served now.
 *
 * @throws OffloadError NOT_READY or LIMITED_CONNECTIVITY with the reason
 */
export async function status(deps: VerbDeps, network: string, ctx: VerbContext): Promise<void> {
  const { vfs } = deps.journal.counts()
  if (vfs.free === 0)
    throw new OffloadError('NOT_READY', `no VF is free: ${vfs.leased} leased, ${vfs.quarantined} quarantined, ${vfs.unhealthy} unhealthy`, {
      hint: 'Wait for pods to end, or add VFs to the device.',
    })
  const signal = deadline(ctx.signal, deps.limits.statusMs)
  try {
    await ctx.stages.time('agent', () =>
      deps.agent.status({ network }, { signal, timeoutMs: deps.limits.statusMs, requestId: ctx.requestId }),
    )
  } catch (error) {
    const failure = OffloadError.from(error)
    if (failure.code === 'NOT_READY' || failure.code === 'LIMITED_CONNECTIVITY') throw failure
    throw new OffloadError('NOT_READY', failure.message, { cause: failure, ...(failure.hint === undefined ? {} : { hint: failure.hint }) })
  }
}
