import { readFile } from 'node:fs/promises'
import { OffloadError } from '@cni-offload/sdk'
import { callCni, type CniOutcome } from '../lab/cni-runtime.ts'
import type { Lab } from '../lab/lab.ts'
import type { LabNode } from '../lab/model.ts'

/** Kubernetes namespace of the pods. */
export const DEMO_NAMESPACE = 'demo'

/** Begin of the container ids of the pods. */
export const CONTAINER_PREFIX = 'demo-'

/** Calls the shim as a container runtime does. What a runtime does with pods is timed by verb. */
export class Runtime {
  /** Durations of the calls that succeeded, milliseconds. */
  readonly times: Readonly<Record<'ADD' | 'CHECK' | 'DEL', number[]>> = { ADD: [], CHECK: [], DEL: [] }
  readonly #lab: Lab

  /** Calls nothing yet. */
  constructor(lab: Lab) {
    this.#lab = lab
  }

  /** A call that has to succeed. @throws OffloadError ADAPTER_FAILED with what was answered instead */
  async call(verb: 'ADD' | 'CHECK' | 'DEL', node: LabNode, pod: string, prevResult?: unknown): Promise<CniOutcome> {
    const outcome = await this.attempt(verb, node, pod, prevResult === undefined ? {} : { prevResult })
    this.times[verb].push(outcome.ms)
    if (outcome.exitCode !== 0)
      throw new OffloadError('ADAPTER_FAILED', `${verb} of pod ${pod} on ${node.name}: ${outcome.stdout || outcome.stderr || 'no answer'}`)
    return outcome
  }

  /** A call that may fail. It is not timed. @param conf - laid over the netconf of the node */
  async attempt(verb: string, node: LabNode, pod: string, conf: object = {}): Promise<CniOutcome> {
    const netconf = JSON.parse(await readFile(node.netconf, 'utf8')) as Record<string, unknown>
    return await callCni(node.shim, this.#lab.netns(node, 'host'), {
      verb,
      containerId: `${CONTAINER_PREFIX}${pod}`,
      netns: this.#lab.podPath(pod),
      args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${DEMO_NAMESPACE};K8S_POD_NAME=${pod};K8S_POD_UID=uid-${pod}`,
      stdin: { ...netconf, ...conf },
      env: node.env,
    })
  }
}
