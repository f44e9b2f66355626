import { type AttachResult, formatAttachmentKey, formatVfId, type NetdevRef, OffloadError } from '@cni-offload/sdk'
import type { CniEnvironment, CniResult, Netconf } from '@cni-offload/sdk/cni'
import { deadline } from '@cni-offload/sdk/runtime'
import { attachCall, attachIntent } from '../agent/intent.ts'
import { decide } from '../fallback/decide.ts'
import type { AttachmentRow, LeaseRequest } from '../journal/types.ts'
import { reached } from '../steps.ts'
import { enforce, settingsOf } from '../wiring/enforce.ts'
import { podOps } from '../wiring/pod-ops.ts'
import { refuseUnfit } from '../wiring/fit.ts'
import { cniResult } from '../wiring/result.ts'
import type { VerbContext, VerbDeps } from './deps.ts'

/**
 * ADD: gives a pod a VF that is connected on the DPU, or the network of the host where that is configured.
 *
 * What it has touched is undone on both sides if it fails for any reason, before it rejects.
 *
 * @throws OffloadError OWN_NETNS, INVALID_ENVIRONMENT, INVALID_NETCONF, ALREADY_EXISTS, NO_FREE_VF, AGENT_UNREACHABLE,
 * HARDWARE_FAILURE, KERNEL_REFUSED, DEADLINE_EXCEEDED, CANCELLED, what an IPAM plugin of the host says, or what the agent answers
 */
export async function add(deps: VerbDeps, env: CniEnvironment, netconf: Netconf, ctx: VerbContext): Promise<CniResult> {
  const intent = attachIntent(env, netconf)
  deps.deviceInfo.check(intent)
  if (netconf.undeclared.length > 0)
    ctx.log.warn({ keys: netconf.undeclared }, 'runtimeConfig is ignored where "capabilities" of the configuration does not declare it')
  const plan = deps.fallback.plan(netconf)
  const ipam = deps.ipam.conf(netconf, env)
  const signal = deadline(ctx.signal, deps.limits.addMs)
  // The key before the limit: a second call for the same attachment must not take up a place while it waits for the first.
  using _key = await deps.locks.acquire(formatAttachmentKey(intent.key), signal)
  using _place = await ctx.stages.time('queue', () => deps.adds.acquire(signal))
  const answer = (row: AttachmentRow, attached: AttachResult): CniResult =>
    cniResult({
      ifName: env.ifName,
      netns: env.netns,
      attached,
      runtimeConfig: netconf.runtimeConfig,
      ...(row.pciAddress === undefined ? {} : { pciAddress: row.pciAddress }),
      ...(netconf.prevResult === undefined ? {} : { previous: netconf.prevResult }),
    })
  const identity = await ctx.stages.time('precheck', () => precheck(deps, env))
  const own = madeBefore(deps.journal.get(intent.key), identity, ctx)
  if (own !== undefined) return answer(own, own.result)
  const { begunAt } = ctx
  const onHost = begunAt === undefined ? undefined : deps.fallback.madeSince(intent.key, identity, begunAt - CLOCK_SLACK_MS, netconf)
  if (onHost !== undefined) {
    ctx.log.info({}, 'answering an ADD on the host again whose caller has lost the daemon')
    return onHost
  }
  const netnsIdentity = await ctx.stages.time('precheck', async () => {
    await clearRemains(deps, intent.key, ctx)
    await deps.fallback.clearRemains(intent.key, ctx.log)
    if (ipam !== undefined) await deps.ipam.clearRemains(intent.key, ctx.log)
    return identity
  })
  const { deviceId } = netconf
  const request: LeaseRequest = {
    intent,
    netns: env.netns,
    netnsIdentity,
    bootId: deps.bootId,
    ...(deviceId === undefined ? {} : { deviceId }),
  }
  // Which VFs the network may use is known only once the agent is connected: another one may be, with another configuration.
  const lease = (): AttachmentRow => deps.journal.lease({ ...request, eligible: deps.agent.eligible(intent.key.network) })
  const decision = await decide(plan, { ready: () => deps.agent.ready(signal), lease: () => ctx.stages.time('lease', lease) }, signal)
  if ('plan' in decision) return await deps.fallback.add({ ...decision, env, netconf, netnsIdentity, pod: intent.pod }, { ...ctx, signal })
  const row = decision.offloaded
  reached('host.add.leased')
  const touched = { release: false, detach: false }
  try {
    const addressed = ipam === undefined ? row : await deps.ipam.assign(row, ipam, { ...ctx, signal })
    const attached = await wire(deps, addressed, netconf, touched, { ...ctx, signal })
    await deps.deviceInfo.write(row, { ...ctx, signal })
    reached('host.add.file-written')
    deps.journal.wired(row.key)
    reached('host.add.wired')
    return answer(row, attached)
  } catch (error) {
    const failure = OffloadError.from(signal.aborted ? signal.reason : error, 'INTERNAL', `ADD ${formatAttachmentKey(row.key)}`)
    ctx.log.warn({ vf: formatVfId(row.vf), err: error, code: failure.code }, 'ADD failed, undoing it')
    const left = await ctx.stages
      .time('undo', () => deps.undo.attachment(row, touched, ctx.log))
      .catch((broken: unknown) => {
        // The journal failed. The row stays, so that the runtime's DEL or the next start undoes it; why the ADD failed matters more.
        ctx.log.error({ vf: formatVfId(row.vf), err: broken }, 'a failed ADD could not be undone')
        return undefined
      })
    if (left !== undefined) deps.leftToQueue()
    throw failure
  }
}

/** Refuses namespaces that must be refused before anything is touched. */
async function precheck(deps: VerbDeps, env: CniEnvironment): Promise<string> {
  const identity = await deps.net.netnsIdentity(env.netns)
  if (identity === undefined)
    throw new OffloadError('INVALID_ENVIRONMENT', `CNI_NETNS = ${env.netns} is no network namespace`, {
      hint: 'The runtime must make the namespace of the sandbox before it calls ADD.',
    })
  if (identity === deps.hostNetns.identity)
    throw new OffloadError('OWN_NETNS', `CNI_NETNS = ${env.netns} is the network namespace of the host`, {
      hint: 'Pods with hostNetwork need no CNI.',
    })
  return identity
}

/**
 * A call's age is fixed before its caller connects, and read when a daemon that has just started gets round to it, among many others.
 * A generous slack is harmless: the row has the same key, is wired, and in the very same namespace, so that it is this call's, or that
 * of an earlier call for the same interface of the same sandbox.
 */
const CLOCK_SLACK_MS = 5_000

/**
 * The attachment that this very call has made before its caller lost the daemon: the call is answered, as it would have been. One that
 * is older than the call is somebody else's.
 */
function madeBefore(
  row: AttachmentRow | undefined,
  netnsIdentity: string,
  { begunAt, log }: VerbContext,
): (AttachmentRow & { readonly result: AttachResult }) | undefined {
  if (begunAt === undefined || row?.phase !== 'wired' || row.result === undefined) return undefined
  if (row.netnsIdentity !== netnsIdentity || row.createdAt < begunAt - CLOCK_SLACK_MS) return undefined
  log.info({ vf: formatVfId(row.vf) }, 'answering an ADD again whose caller has lost the daemon')
  return { ...row, result: row.result }
}

/** An attachment of the same key that is alive stays; what is left of a dead one goes before a new one is made. */
async function clearRemains(deps: VerbDeps, key: AttachmentRow['key'], ctx: VerbContext): Promise<void> {
  const row = deps.journal.get(key)
  if (row !== undefined) {
    if (row.phase === 'wired' && (await deps.net.netnsIdentity(row.netns)) === row.netnsIdentity)
      throw new OffloadError(
        'ALREADY_EXISTS',
        `attachment ${formatAttachmentKey(key)} exists already, with VF ${formatVfId(row.vf)} in ${row.netns}`,
        {
          hint: 'The runtime must call DEL before it calls ADD again.',
        },
      )
    ctx.log.warn({ phase: row.phase }, 'undoing what an earlier ADD left')
    await deps.undo.attachment(row, { release: true, detach: true }, ctx.log)
  }
  const queued = deps.journal.queued(key).length > 0
  const left = queued ? await deps.undo.queued(key, ctx.log) : undefined
  if (left !== undefined)
    throw new OffloadError(
      'AGENT_UNREACHABLE',
      `an earlier attachment ${formatAttachmentKey(key)} could not be undone yet: ${left.reason}`,
      {
        hint: 'It is tried again in the background; the runtime may try again too.',
      },
    )
}

/**
 * The work: the kernel's move of the VF (many milliseconds) and the agent's work run at the same time; addresses follow
 * when both are done. `touched` tells, at any moment, what would have to be undone.
 */
async function wire(
  deps: VerbDeps,
  row: AttachmentRow,
  netconf: Netconf,
  touched: { release: boolean; detach: boolean },
  ctx: VerbContext,
): Promise<AttachResult> {
  const failed = new AbortController()
  const both = AbortSignal.any([ctx.signal, failed.signal])
  const stop = (error: unknown): never => {
    failed.abort(error)
    throw error
  }
  // The agent first: its request is on the way while the kernel's thread wakes up.
  const [answered, moved] = await Promise.allSettled([
    ctx.stages.time('attach', () => attach(deps, row, touched, { ...ctx, signal: both })).catch(stop),
    (row.userspace === undefined ? moveIntoPod(deps, row, touched, { ...ctx, signal: both }) : leaveToProgram(touched)).catch(stop),
  ])
  // Both must have ended before anything is undone. What failed first is the reason, the other one was only stopped.
  if (failed.signal.aborted) throw failed.signal.reason
  if (moved.status === 'rejected') throw moved.reason
  if (answered.status === 'rejected') throw answered.reason
  ctx.signal.throwIfAborted()
  const result = answered.value
  refuseUnfit(result, { netconf, netdev: moved.value, ipv6: deps.ipv6, hostIpam: row.intent.hostIpam })
  const settings = settingsOf(row, result)
  if (settings !== undefined) await ctx.stages.time('enforce', () => enforce(deps, row, settings, ctx))
  const netdev = moved.value
  if (netdev !== undefined) await ctx.stages.time('wire', () => configure(deps, row, netdev, result))
  else if (result.mac !== (settings?.mac ?? row.vfMac))
    ctx.log.warn(
      { vf: formatVfId(row.vf), mac: result.mac },
      'nobody can give the VF its MAC address: the program that has it must use this one',
    )
  reached('host.add.configured')
  ctx.signal.throwIfAborted()
  return result
}

/** A function that a userspace driver has is no interface: nothing is moved. What its physical function makes of it is brought back. */
async function leaveToProgram(touched: { release: boolean }): Promise<undefined> {
  touched.release = true
}

async function moveIntoPod(deps: VerbDeps, row: AttachmentRow, touched: { release: boolean }, ctx: VerbContext): Promise<NetdevRef> {
  touched.release = true
  const netdev = await ctx.stages.time('acquire', () => deps.device.acquire(row.vf, {}, ctx))
  reached('host.add.acquired')
  ctx.signal.throwIfAborted()
  const move = { op: 'link.move' as const, dev: netdev.name, netns: row.netns, name: row.key.ifName }
  await ctx.stages
    .time('move', () => deps.net.apply(deps.hostNetns.path, [move]))
    .catch((error: unknown) => {
      throw OffloadError.is(error) && error.code === 'ALREADY_EXISTS' ? taken(row, error) : error
    })
  reached('host.add.moved')
  return netdev
}

async function attach(deps: VerbDeps, row: AttachmentRow, touched: { detach: boolean }, ctx: VerbContext): Promise<AttachResult> {
  touched.detach = true
  const call = attachCall(row, row.vfMac)
  const reply = await deps.agent.attach(
    call,
    { signal: ctx.signal, timeoutMs: deps.limits.addMs, requestId: ctx.requestId },
    ({ result }) => {
      reached('host.add.answered')
      deps.journal.attached(row.key, result)
      reached('host.add.noted')
    },
  )
  return reply.result
}

/**
 * Configures the interface and reads it back: drivers may ignore a MAC or an MTU without a word, and then the pod would be
 * silent, or lose large packets only.
 */
async function configure(deps: VerbDeps, row: AttachmentRow, has: NetdevRef, result: AttachResult): Promise<void> {
  const { ifName } = row.key
  const { mac, mtu } = result
  try {
    await deps.net.apply(row.netns, [...podOps(ifName, has, result, deps.ipv6), { op: 'link.expect', dev: ifName, mac, mtu, up: true }])
  } catch (error) {
    const known = OffloadError.from(error)
    if (known.code !== 'CHECK_FAILED') throw error
    throw new OffloadError('HARDWARE_FAILURE', `VF ${formatVfId(row.vf)} did not take its settings in the pod: ${known.message}`, {
      cause: error,
    })
  }
}

function taken(row: AttachmentRow, cause: unknown): OffloadError {
  return new OffloadError('ALREADY_EXISTS', `CNI_IFNAME = ${row.key.ifName} exists already in ${row.netns}`, {
    cause,
    hint: 'Another plugin of the list, or an earlier attachment, has made an interface of that name.',
  })
}
