import { type AttachResult, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, CniResult, Netconf } from '@cni-offload/sdk/cni'
import { deadline } from '@cni-offload/sdk/runtime'
import { contradictions, differences, readPodInterface, statedInterface } from '../wiring/compare.ts'
import { unenforced } from '../wiring/enforce.ts'
import { lostToProgram } from '../wiring/userspace.ts'
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
  const signal = deadline(ctx.signal, deps.limits.checkMs)
  const pod = async (): Promise<readonly string[]> =>
    row.userspace === undefined
      ? await interfaceDifferences(deps, expected, env, prevResult)
      : await lostToProgram(deps, row, { ...ctx, signal })
  const wrong = [...(await ctx.stages.time('pod', pod)), ...(await unenforced(deps, row, { ...ctx, signal }))]
  if (wrong.length > 0) throw new OffloadError('CHECK_FAILED', `attachment ${name}: ${wrong.join('; ')}`)
  await deps.ipam.check(row, env, netconf, ctx)
  await ctx.stages.time('agent', () =>
    deps.agent.check({ key, expected }, { signal, timeoutMs: deps.limits.checkMs, requestId: ctx.requestId }),
  )
}

async function interfaceDifferences(
  { net }: VerbDeps,
  expected: AttachResult,
  { netns, ifName }: CniEnvironment,
  prevResult: CniResult,
): Promise<readonly string[]> {
  const has = await readPodInterface(net, netns, ifName)
  if (has === undefined) return [`there is no interface ${ifName} in ${netns}`]
  return [...differences(has, expected, statedInterface(prevResult, ifName, netns)), ...contradictions(has, prevResult, netns)]
}
