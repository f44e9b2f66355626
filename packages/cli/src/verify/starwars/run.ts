import { type Clock, OffloadError } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { Kubectl } from '../../kubectl/kubectl.ts'
import { KubectlError } from '../../kubectl/kubectl-error.ts'
import { answerText, callDeathstar, type ShipAnswer } from './call.ts'
import { StarwarsDeployment } from './deployment.ts'
import type { StarwarsApp } from './manifests.ts'
import type { StarwarsCheck, StarwarsReport } from './report.ts'
import { type Attempt, attempts, EXPECTATIONS, fits, type PolicyPhase, type Targets } from './scenario.ts'

/** What the demo is run with. */
export interface StarwarsOptions {
  /** The cluster. */
  readonly kubectl: Kubectl
  /** What is deployed. */
  readonly app: StarwarsApp
  /** Time. */
  readonly clock: Clock
  /** Longest that pods may take to be ready, milliseconds. */
  readonly readyMs: number
  /** Longest that a policy may take to be in force, or a name to be known, milliseconds: a call is repeated until then. */
  readonly settleMs: number
  /** Pause between two calls, milliseconds. */
  readonly pauseMs: number
  /** Whether the demo stays. */
  readonly keep: boolean
  /** Ends it; the demo is removed nevertheless. */
  readonly signal: AbortSignal
  /** Ends the removal, too. */
  readonly removalSignal: AbortSignal
  /** Told what is done. */
  readonly progress: (text: string) => void
}

/** Longest that the removal of the namespace may take, milliseconds. */
const REMOVAL_MS = 120_000

const PHASES: readonly PolicyPhase[] = ['none', 'L3/L4', 'L7', 'removed']

/**
 * Deploys the demo, tries what has to work and what has to be refused under each policy, and removes it, however that ends.
 *
 * @throws OffloadError ALREADY_EXISTS for a namespace of somebody else; KubectlError when the cluster refuses or pods do not get ready;
 * the signal's reason. What the removal failed of is told in the message
 */
export async function verifyStarwars(options: StarwarsOptions): Promise<StarwarsReport> {
  const { app, kubectl, keep, signal } = options
  const deployment = new StarwarsDeployment(kubectl, app)
  await deployment.claimNamespace(REMOVAL_MS, signal)
  let report: StarwarsReport
  try {
    report = await tryAll(deployment, options)
  } catch (error) {
    const failure = signal.aborted ? OffloadError.from(signal.reason, 'CANCELLED') : OffloadError.from(error)
    const left = keep ? undefined : await leftBehind(deployment, options)
    throw left === undefined ? failure : withRest(failure, left, app.namespace)
  }
  const left = keep ? undefined : await leftBehind(deployment, options)
  return left === undefined ? report : { ...report, ok: false, leftBecause: left.message }
}

async function tryAll(deployment: StarwarsDeployment, options: StarwarsOptions): Promise<StarwarsReport> {
  const { app, keep, signal, progress } = options
  progress(`namespace ${app.namespace}: deathstar, tiefighter and xwing`)
  await deployment.apply(signal)
  // Of an earlier run that was kept.
  await deployment.setPolicy('none', signal)
  await deployment.ready(options.readyMs, signal)
  const pods = await deployment.placement(signal)
  const targets = await deployment.targets(signal)
  const checks: StarwarsCheck[] = [...spread(app.nodes, targets)]
  for (const phase of PHASES) {
    progress(phase === 'none' ? 'no policy' : phase === 'removed' ? 'the policy is taken away' : `policy for ${phase}`)
    if (phase !== 'none') await deployment.setPolicy(phase, signal)
    for (const attempt of attempts(phase, targets)) checks.push(await settle(phase, attempt, options))
  }
  return { namespace: app.namespace, pods, checks, ok: checks.every(({ ok }) => ok), kept: keep, leftBecause: '' }
}

/** Whether the service has a backend on each node that it was told to run on. */
function spread(nodes: readonly string[], { backends }: Targets): readonly StarwarsCheck[] {
  if (nodes.length === 0) return []
  const used = [...new Set(backends.map(({ node }) => node))].toSorted()
  const ok = nodes.every((node) => used.includes(node))
  return [
    {
      policy: 'none',
      id: 'nodes',
      title: 'the service has a backend on each node',
      expected: nodes.toSorted().join(', '),
      seen: used.join(', '),
      ok,
      remedy: ok ? '' : 'Can pods be scheduled to all of these nodes? See k8s.taints of "offload doctor".',
    },
  ]
}

/** Tries until it comes as expected: policies, names and endpoints take their time, and nobody tells when they are there. */
async function settle(policy: PolicyPhase, attempt: Attempt, options: StarwarsOptions): Promise<StarwarsCheck> {
  const { kubectl, app, clock, settleMs, pauseMs, signal } = options
  const until = clock.monotonic() + settleMs
  let answer = await call(kubectl, { ...attempt.call, namespace: app.namespace }, signal)
  while (!fits(answer, attempt.expected) && clock.monotonic() < until) {
    await clock.sleep(pauseMs, signal)
    answer = await call(kubectl, { ...attempt.call, namespace: app.namespace }, signal)
  }
  const ok = fits(answer, attempt.expected)
  const { id, title, expected, remedy } = attempt
  return { policy, id, title, expected: EXPECTATIONS[expected], seen: answerText(answer), ok, remedy: ok ? '' : remedy }
}

/** A ship that cannot be made to call for a reason that may pass is one whose call failed. */
async function call(...args: Parameters<typeof callDeathstar>): Promise<ShipAnswer> {
  try {
    return await callDeathstar(...args)
  } catch (error) {
    if (!(error instanceof KubectlError) || !['failed', 'timeout'].includes(error.kind)) throw error
    return { kind: 'error', exitCode: error.exitCode ?? -1, text: error.message }
  }
}

/** Removes the demo. @returns what kept it from that */
async function leftBehind(
  deployment: StarwarsDeployment,
  { progress, removalSignal, app }: StarwarsOptions,
): Promise<OffloadError | undefined> {
  progress(`namespace ${app.namespace} is removed`)
  try {
    await deployment.remove(REMOVAL_MS, deadline(removalSignal, 2 * REMOVAL_MS))
    return undefined
  } catch (error) {
    return OffloadError.from(error)
  }
}

function withRest(failure: OffloadError, left: OffloadError, namespace: string): OffloadError {
  return new OffloadError(failure.code, `${failure.message}\nand namespace ${namespace} could not be removed: ${left.message}`, {
    cause: failure,
    hint: `${failure.hint === undefined ? '' : `${failure.hint} `}Then remove the namespace: kubectl delete namespace ${namespace}`,
  })
}
