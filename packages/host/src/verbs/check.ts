import { formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, Netconf } from '@cni-offload/sdk/cni'
import { deadline } from '@cni-offload/sdk/runtime'
import { contradictions, differences, readPodInterface, statedInterface } from '../wiring/compare.ts'
import { unenforced } from '../wiring/enforce.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * CHECK: compares what the pod and the DPU have with what ADD answered.
 *
 * @throws OffloadError CHECK_FAILED that names all differences; INVALID_NETCONF without prevResult; AGENT_UNREACHABLE
 */
export async function check(deps: VerbDeps, env: CniEnvironment, netconf: Netconf, ctx: VerbContext): Promise<void> {
  const key = { network: netconf.name, containerId: env.containerId, ifName: env.ifName }
  const { prevResult } = netconf
  if (prevResult === undefined)
    throw new OffloadError('INVALID_NETCONF', 'prevResult is missing: CHECK needs the result of the ADD', {
      hint: 'Has the runtime lost its cache of results?',
    })
  const name = formatAttachmentKey(key)
  using _key = await deps.locks.acquire(name, ctx.signal)
  const onHost = deps.fallback.get(key)
  if (onHost !== undefined) return await deps.fallback.check(onHost, env, ctx)
  const row = deps.journal.get(key)
  if (row?.phase !== 'wired' || row.result === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${name} is not known`)
  const identity = await deps.net.netnsIdentity(env.netns)
  // Of an attachment that was taken over from the agent it is not known.
  if (row.netnsIdentity !== '' && identity !== row.netnsIdentity)
    throw new OffloadError('CHECK_FAILED', `attachment ${name}: CNI_NETNS = ${env.netns} is not the namespace that it was made in`)
  const expected = row.result
  const has = await ctx.stages.time('pod', () => readPodInterface(deps.net, env.netns, env.ifName))
  if (has === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${name}: there is no interface ${env.ifName} in ${env.netns}`)
  const stated = statedInterface(prevResult, env.ifName, env.netns)
  const signal = deadline(ctx.signal, deps.limits.checkMs)
  const wrong = [
    ...differences(has, expected, stated),
    ...contradictions(has, prevResult, env.netns),
    ...(await unenforced(deps, row, { ...ctx, signal })),
  ]
  if (wrong.length > 0) throw new OffloadError('CHECK_FAILED', `attachment ${name}: ${wrong.join('; ')}`)
  await deps.ipam.check(row, env, netconf, ctx)
  await ctx.stages.time('agent', () =>
    deps.agent.check({ key, expected }, { signal, timeoutMs: deps.limits.checkMs, requestId: ctx.requestId }),
  )
}
