import { OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, Netconf } from '@cni-offload/sdk/cni'
import { deadline } from '@cni-offload/sdk/runtime'
import { type FallbackPlan, fallsBack } from '../fallback/plan.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * STATUS: whether an ADD for a network could be served now, be it with the network of the host where that is configured.
 *
 * @throws OffloadError NOT_READY or LIMITED_CONNECTIVITY with the reason; INVALID_NETCONF
 */
export async function status(deps: VerbDeps, env: CniEnvironment, netconf: Netconf, ctx: VerbContext): Promise<void> {
  const plan = deps.fallback.plan(netconf)
  if (plan?.asked !== undefined) return await deps.fallback.status(plan, ctx)
  try {
    await offloadStatus(deps, netconf.name, ctx)
    await deps.ipam.status(netconf, env, ctx)
  } catch (error) {
    if (ctx.signal.aborted || plan === undefined || !servedByHost(deps, plan, netconf.name)) throw error
    ctx.log.debug({ err: error }, 'offloading is not possible: asking the list of the host')
    await deps.fallback.status(plan, ctx)
  }
}

/** Whether an ADD would get the network of the host now: the same that decides there. */
function servedByHost({ agent, journal }: VerbDeps, plan: FallbackPlan, network: string): boolean {
  if (!agent.connected) return fallsBack(plan, 'dpu-down')
  return !journal.hasFree(agent.eligible(network)) && fallsBack(plan, 'no-free-vf')
}

/**
 * Whether the node is full and kubelet knows it, since it counts the VFs. A failure would tell kubelet that the network of the
 * node is broken, and it would move the pods elsewhere.
 */
function isFull({ counted, journal }: VerbDeps): boolean {
  return counted && journal.counts().vfs.leased > 0
}

/** Whether an ADD that names its VF could be served, as every one does that is for a program. */
function hasFreeForPrograms({ agent, journal }: VerbDeps, network: string): boolean {
  const eligible = agent.eligible(network)
  return journal
    .vfs()
    .some(({ vf, state, health, userspace }) => userspace !== undefined && state === 'free' && health === 'healthy' && eligible(vf))
}

async function offloadStatus(deps: VerbDeps, network: string, ctx: VerbContext): Promise<void> {
  if (!deps.journal.hasFree(deps.agent.eligible(network)) && !isFull(deps) && !hasFreeForPrograms(deps, network)) {
    const { vfs } = deps.journal.counts()
    const kept = vfs.free === 0 ? '' : `, ${vfs.free} kept for others`
    const text = `no VF is free: ${vfs.leased} leased, ${vfs.quarantined} quarantined, ${vfs.unhealthy} unhealthy${kept}`
    throw new OffloadError('NOT_READY', text, {
      hint: 'Wait for pods to end, or add VFs to the device.',
    })
  }
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
