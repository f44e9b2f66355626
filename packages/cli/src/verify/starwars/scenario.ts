import type { ShipAnswer, ShipCall } from './call.ts'
import { EXHAUST_PORT, LANDING } from './manifests.ts'

/** Which policy is in force. */
export type PolicyPhase = 'none' | 'L3/L4' | 'L7' | 'removed'

/** What a call has to come to: a landing, no answer at all, or the proxy's refusal. */
export type Expected = 'landed' | 'refused' | 'denied'

/** A call, and what has to come of it. */
export interface Attempt {
  /** Name that does not change. */
  readonly id: string
  /** What is tried. */
  readonly title: string
  /** The call. */
  readonly call: Omit<ShipCall, 'namespace'>
  /** What has to come of it. */
  readonly expected: Expected
  /** What to look at if not. */
  readonly remedy: string
}

/** Where the deathstar can be called. */
export interface Targets {
  /** Name of the service. */
  readonly name: string
  /** ClusterIP of the service; undefined if it has none. */
  readonly clusterIp: string | undefined
  /** Its pods. */
  readonly backends: readonly { readonly pod: string; readonly node: string; readonly ip: string }[]
}

/** What each expectation is called. */
export const EXPECTATIONS: Readonly<Record<Expected, string>> = {
  landed: '200 Ship landed',
  refused: 'no answer (curl 28)',
  denied: '403 Access denied',
}

const REMEDIES = {
  path: 'Look at "offload doctor" on the DPUs of both nodes, and at "offload inspect" for the two pods.',
  name: 'If the backends answer by their addresses: do services work (kube-proxy-replacement, socket-lb of "offload doctor"), and does DNS?',
  enforced:
    'Are the pods endpoints of Cilium on the DPU (cilium-dbg endpoint list), with their labels? See cilium.node of "offload doctor".',
  allowed: 'Does the endpoint of the tiefighter have its labels (cilium-dbg endpoint list on its DPU), and the other DPU its identity?',
  proxy: 'Is l7Proxy on, and does Envoy run on the DPU (cilium-dbg status)? See k8s.cilium-config.enable-l7-proxy of "offload doctor".',
} as const

/** Whether an answer is what was expected. */
export function fits(answer: ShipAnswer, expected: Expected): boolean {
  if (expected === 'refused') return answer.kind === 'timeout'
  if (answer.kind !== 'answer') return false
  return expected === 'landed' ? answer.status === 200 && answer.body.includes('Ship landed') : answer.status === 403
}

/** What is tried under each policy, in order. */
export function attempts(phase: PolicyPhase, targets: Targets): readonly Attempt[] {
  const land = (from: 'tiefighter' | 'xwing', expected: Expected, remedy: string): Attempt => ({
    id: `${from}-${expected}`,
    title: `${from} ${expected === 'landed' ? 'lands' : 'is refused'}`,
    call: { from, method: 'POST', host: targets.name, path: LANDING },
    expected,
    remedy,
  })
  switch (phase) {
    case 'none':
      return [
        ...backendAttempts(targets),
        ...serviceAttempts(targets),
        land('tiefighter', 'landed', REMEDIES.name),
        land('xwing', 'landed', REMEDIES.name),
      ]
    // Who is to be refused comes first: with it is waited until the policy is in force.
    case 'L3/L4':
      return [land('xwing', 'refused', REMEDIES.enforced), land('tiefighter', 'landed', REMEDIES.allowed)]
    case 'L7':
      return [
        {
          id: 'exhaust-port-denied',
          title: 'tiefighter may not use the exhaust port',
          call: { from: 'tiefighter', method: 'PUT', host: targets.name, path: EXHAUST_PORT },
          expected: 'denied',
          remedy: REMEDIES.proxy,
        },
        land('tiefighter', 'landed', REMEDIES.proxy),
        land('xwing', 'refused', REMEDIES.enforced),
      ]
    case 'removed':
      return [land('xwing', 'landed', 'Policies of others may be for these pods, too: kubectl get ciliumclusterwidenetworkpolicies.')]
  }
}

function backendAttempts({ backends }: Targets): readonly Attempt[] {
  return backends.map(({ pod, node, ip }) => ({
    id: `backend-${pod}`,
    title: `${pod} on ${node} can be reached by its address`,
    call: { from: 'tiefighter', method: 'POST', host: ip, path: LANDING },
    expected: 'landed',
    remedy: REMEDIES.path,
  }))
}

function serviceAttempts({ clusterIp }: Targets): readonly Attempt[] {
  if (clusterIp === undefined) return []
  return [
    {
      id: 'cluster-ip',
      title: 'the service can be reached by its ClusterIP',
      call: { from: 'tiefighter', method: 'POST', host: clusterIp, path: LANDING },
      expected: 'landed',
      remedy: REMEDIES.name,
    },
  ]
}
