import { OffloadError } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Kubectl } from '../../kubectl/kubectl.ts'
import { KubectlError } from '../../kubectl/kubectl-error.ts'
import { appManifests, l3l4Policy, l7Policy, type Manifest, namespaceManifest, OWNER_LABEL, POLICY, type StarwarsApp } from './manifests.ts'
import type { PolicyPhase, Targets } from './scenario.ts'

/** A pod of the demo. */
export interface PlacedPod {
  /** Name. */
  readonly name: string
  /** Node that it runs on. */
  readonly node: string
  /** Address. */
  readonly ip: string
}

/** kubectl is given this much more time than it is told to wait, milliseconds: it must tell by itself that it was in vain. */
const GRACE_MS = 15_000

const namespaceObject = z.object({
  metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }),
  status: z.object({ phase: z.string().default('') }).default({ phase: '' }),
})
const service = z.object({ spec: z.object({ clusterIP: z.string().optional() }) })
const reason = z.object({ reason: z.string().default(''), message: z.string().default('') })
const podList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), labels: z.record(z.string(), z.string()).default({}) }),
      spec: z.object({ nodeName: z.string().default('') }),
      status: z.object({
        phase: z.string().default(''),
        podIP: z.string().default(''),
        conditions: z.array(reason.extend({ type: z.string(), status: z.string() })).default([]),
        containerStatuses: z.array(z.object({ state: z.object({ waiting: reason.optional() }).default({}) })).default([]),
      }),
    }),
  ),
})

type PodObject = z.output<typeof podList>['items'][number]

/** The demo in a cluster. Disposing of nothing: {@link StarwarsDeployment.remove} takes it away. */
export class StarwarsDeployment {
  readonly #kubectl: Kubectl
  readonly #app: StarwarsApp

  /** Deploys nothing yet. */
  constructor(kubectl: Kubectl, app: StarwarsApp) {
    this.#kubectl = kubectl
    this.#app = app
  }

  /**
   * Makes sure that the namespace may be used. One of ours that is just being removed is waited for: nothing can be made in it.
   *
   * @throws OffloadError ALREADY_EXISTS if it belongs to somebody else
   */
  async claimNamespace(removalMs: number, signal: AbortSignal): Promise<void> {
    const { namespace } = this.#app
    const found = await this.#kubectl.find({ args: ['get', 'namespace', namespace] }, namespaceObject, signal)
    if (found === undefined) return
    const [[label, owner]] = Object.entries(OWNER_LABEL) as [[string, string]]
    if (found.metadata.labels[label] !== owner)
      throw new OffloadError(
        'ALREADY_EXISTS',
        `namespace = ${namespace}: it is there already and not of this command, which would remove it`,
        {
          hint: 'Name one that does not exist with --namespace.',
        },
      )
    if (found.status.phase === 'Terminating') await this.remove(removalMs, signal)
  }

  /** Applies the demo, without a policy. */
  async apply(signal: AbortSignal): Promise<void> {
    await this.#apply([namespaceManifest(this.#app)], signal)
    await this.#apply(appManifests(this.#app), signal)
  }

  /** Waits until all pods are ready. @throws KubectlError timeout that says what keeps which pod */
  async ready(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const wait = ['wait', '-n', this.#app.namespace, `--timeout=${Math.ceil(timeoutMs / 1000)}s`]
    try {
      await this.#kubectl.run(
        { args: [...wait, '--for=condition=Available', 'deployment/deathstar'], timeoutMs: timeoutMs + GRACE_MS },
        signal,
      )
      await this.#kubectl.run({ args: [...wait, '--for=condition=Ready', 'pod', '--all'], timeoutMs: timeoutMs + GRACE_MS }, signal)
    } catch (error) {
      if (!(error instanceof KubectlError) || error.kind !== 'timeout') throw error
      const waiting = (await this.#pods(signal)).flatMap(whyNotReady)
      throw new KubectlError(`pods are not ready after ${Math.ceil(timeoutMs / 1000)} s: ${waiting.join('; ')}`, {
        kind: 'timeout',
        cause: error,
      })
    }
  }

  /** Where its pods are. */
  async placement(signal: AbortSignal): Promise<readonly PlacedPod[]> {
    return (await this.#pods(signal)).map(({ metadata, spec, status }) => ({ name: metadata.name, node: spec.nodeName, ip: status.podIP }))
  }

  /** Where the deathstar can be called. */
  async targets(signal: AbortSignal): Promise<Targets> {
    const { namespace } = this.#app
    const { spec } = await this.#kubectl.json({ args: ['get', 'service', 'deathstar', '-n', namespace] }, service, signal)
    const backends = (await this.#pods(signal)).filter(({ metadata }) => metadata.labels['class'] === 'deathstar')
    return {
      name: `deathstar.${namespace}.svc`,
      clusterIp: spec.clusterIP === undefined || spec.clusterIP === 'None' ? undefined : spec.clusterIP,
      backends: backends.map(({ metadata, spec: { nodeName }, status }) => ({ pod: metadata.name, node: nodeName, ip: status.podIP })),
    }
  }

  /** Puts a policy in the place of the one before, or takes it away. */
  async setPolicy(phase: PolicyPhase, signal: AbortSignal): Promise<void> {
    if (phase === 'L3/L4') return await this.#apply([l3l4Policy(this.#app)], signal)
    if (phase === 'L7') return await this.#apply([l7Policy(this.#app)], signal)
    const args = ['delete', 'ciliumnetworkpolicies.cilium.io', POLICY, '-n', this.#app.namespace, '--ignore-not-found']
    await this.#kubectl.run({ args }, signal)
  }

  /** Removes the namespace and all that is in it, and waits until it is gone. */
  async remove(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const args = [
      'delete',
      'namespace',
      this.#app.namespace,
      '--ignore-not-found',
      '--wait=true',
      `--timeout=${Math.ceil(timeoutMs / 1000)}s`,
    ]
    await this.#kubectl.run({ args, timeoutMs: timeoutMs + GRACE_MS }, signal)
  }

  async #apply(items: readonly Manifest[], signal: AbortSignal): Promise<void> {
    await this.#kubectl.run({ args: ['apply', '-f', '-'], input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) }, signal)
  }

  async #pods(signal: AbortSignal): Promise<readonly PodObject[]> {
    return (await this.#kubectl.json({ args: ['get', 'pods', '-n', this.#app.namespace] }, podList, signal)).items
  }
}

function whyNotReady({ metadata, status }: PodObject): readonly string[] {
  if (status.conditions.some(({ type, status: holds }) => type === 'Ready' && holds === 'True')) return []
  const waiting = status.containerStatuses.flatMap(({ state }) => state.waiting ?? [])
  const unmet = status.conditions.filter(({ status: holds }) => holds === 'False')
  const [why] = [...waiting, ...unmet].filter((candidate) => candidate.reason !== '')
  return [
    `${metadata.name} is ${status.phase}${why === undefined ? '' : ` (${why.reason}${why.message === '' ? '' : `: ${why.message}`})`}`,
  ]
}
