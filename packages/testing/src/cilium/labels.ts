/** A pod as the agent learns of it from the API server. */
export interface FakePodObject {
  /** Kubernetes namespace. */
  readonly namespace: string
  /** Name. */
  readonly name: string
  /** UID. */
  readonly uid: string
  /** Node that it was scheduled to; the agent's own by default. An agent does not see pods of other nodes. */
  readonly nodeName?: string
  /** Its labels. */
  readonly labels?: Readonly<Record<string, string>>
  /** Its annotations: `ipam.cilium.io/ip-pool`, `…/ipv4-pool` and `…/ipv6-pool` name the pools that its addresses are of. */
  readonly annotations?: Readonly<Record<string, string>>
}

/** What the labels of an endpoint amount to. */
export interface FakeIdentity {
  /** Number; equal labels have equal numbers. */
  readonly id: number
  /** Labels with their source, sorted. */
  readonly labels: readonly string[]
}

const INIT: FakeIdentity = { id: 5, labels: ['reserved:init'] }
const FIRST_ID = 1024

/** Gives equal sets of labels equal numbers. */
export class FakeIdentities {
  readonly #ids = new Map<string, number>()

  /** The identity of a pod with more labels from elsewhere; without a pod and labels, an endpoint is being initialised. */
  of(pod: FakePodObject | undefined, more: readonly string[]): FakeIdentity {
    if (pod === undefined && more.length === 0) return INIT
    const own = pod === undefined ? [] : Object.entries(pod.labels ?? {}).map(([key, value]) => `k8s:${key}=${value}`)
    const namespace = pod === undefined ? [] : [`k8s:io.kubernetes.pod.namespace=${pod.namespace}`]
    const labels = [...new Set([...own, ...namespace, ...more])].toSorted()
    const key = labels.join('\n')
    const id = this.#ids.get(key) ?? FIRST_ID + this.#ids.size
    this.#ids.set(key, id)
    return { id, labels }
  }
}
