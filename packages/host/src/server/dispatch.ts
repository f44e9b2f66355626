import { randomUUID } from 'node:crypto'
import { type Clock, formatAttachmentKey, type Logger, OffloadError } from '@cni-offload/sdk'
import {
  answerVersion,
  type CniEnvironment,
  encodeError,
  encodeResult,
  parseEnvironment,
  parseNetconf,
  versionReply,
} from '@cni-offload/sdk/cni'
import { deadline } from '@cni-offload/sdk/runtime'
import { Stages } from '../metrics/stages.ts'
import { add } from '../verbs/add.ts'
import { check } from '../verbs/check.ts'
import { del } from '../verbs/del.ts'
import type { VerbContext, VerbDeps } from '../verbs/deps.ts'
import { gc } from '../verbs/gc.ts'
import { status } from '../verbs/status.ts'
import type { Reply } from './frame.ts'
import type { RecentFailures } from './recent-failures.ts'
import type { CniRequest, HostRequest, InspectRequest } from './request.ts'
import type { RequestHandler } from './socket-server.ts'

/** What happened to a request. */
export interface RequestOutcome {
  /** Verb, `invalid` if it was none. */
  readonly verb: string
  /** Code of the error, `OK` if there was none. */
  readonly code: string
  /** How long it took, in milliseconds. */
  readonly ms: number
  /** How long its stages took, in milliseconds. */
  readonly stages: Readonly<Record<string, number>>
}

/** What a dispatcher is made of. */
export interface DispatcherDeps {
  /** What the verbs work with. */
  readonly verbs: VerbDeps
  /** The daemon's state, as plain data for JSON. */
  readonly inspect: (request: InspectRequest, signal: AbortSignal) => Promise<object>
  /** Takes note of calls that fail. */
  readonly failures: RecentFailures
  /** Told every outcome. */
  readonly observe: (outcome: RequestOutcome) => void
  /** Time. */
  readonly clock: Clock
  /** Log. */
  readonly log: Logger
}

/** The shim stops waiting at its deadline; this much before it the daemon gives up, so that its answer still arrives. */
const ANSWER_MS = 500

/** Makes the handler that answers every request: parses, runs the verb, encodes, measures. */
export function createDispatcher(deps: DispatcherDeps): RequestHandler {
  return async (request: HostRequest, signal: AbortSignal): Promise<Reply> => {
    if (request.kind === 'inspect') return { exitCode: 0, output: JSON.stringify(await deps.inspect(request, signal)) }
    return answerCni(deps, request, signal)
  }
}

async function answerCni(deps: DispatcherDeps, request: CniRequest, caller: AbortSignal): Promise<Reply> {
  const from = deps.clock.monotonic()
  const requestId = randomUUID()
  const stages = new Stages(deps.clock)
  const verb = request.env['CNI_COMMAND'] ?? ''
  const done = (code: string): void => {
    const ms = deps.clock.monotonic() - from
    deps.observe({ verb: KNOWN.has(verb) ? verb : 'invalid', code, ms, stages: stages.ms })
    deps.log.debug({ requestId, verb, code, ms: Math.round(ms * 100) / 100, stages: stages.rounded }, 'request')
  }
  try {
    const signal = deadline(caller, Math.max(request.deadlineMs - ANSWER_MS, request.deadlineMs / 2))
    const begun = request.sinceMs === undefined ? {} : { begunAt: deps.clock.now() - request.sinceMs }
    const output = await run(deps, request, { signal, requestId, stages, ...begun })
    done('OK')
    return { exitCode: 0, output }
  } catch (error) {
    const failure = OffloadError.from(error)
    const level = failure.code === 'INTERNAL' ? 'error' : 'warn'
    deps.log[level]({ requestId, verb, code: failure.code, err: error }, `${verb} failed`)
    done(failure.code)
    deps.failures.note(deps.clock.now(), request.env, failure)
    const { json, exitCode } = encodeError(failure, answerVersion(request.stdin))
    return { exitCode, output: json }
  }
}

const KNOWN: ReadonlySet<string> = new Set(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'])

async function run(deps: DispatcherDeps, request: CniRequest, ctx: Omit<VerbContext, 'log'>): Promise<string> {
  const { verbs } = deps
  const env = parseEnvironment(request.env)
  if (env.verb === 'VERSION') return versionReply(request.stdin)
  const netconf = parseNetconf(request.stdin, env.verb)
  const key = { network: netconf.name, containerId: env.containerId, ifName: env.ifName }
  const context: VerbContext = { ...ctx, log: deps.log.child({ requestId: ctx.requestId, verb: env.verb, ...keyField(env, netconf.name) }) }
  switch (env.verb) {
    case 'ADD':
      return encodeResult(await add(verbs, env, netconf, context), netconf.cniVersion)
    case 'DEL':
      await del(verbs, key, context, netconf)
      return ''
    case 'CHECK':
      await check(verbs, env, netconf, context)
      return ''
    case 'STATUS':
      await status(verbs, env, netconf, context)
      return ''
    case 'GC':
      await gc(verbs, env, netconf, context)
      return ''
  }
}

function keyField(env: CniEnvironment, network: string): { key: string } | { network: string } {
  const { containerId, ifName } = env
  return env.verb === 'STATUS' || env.verb === 'GC' ? { network } : { key: formatAttachmentKey({ network, containerId, ifName }) }
}
