import { DEMO_NAMESPACE } from '../runtime.ts'

/** What a pod of the cast is. */
export type Role = 'deathstar' | 'tiefighter' | 'xwing'

/** A pod of the cast. */
export interface Member {
  /** Name of the pod. */
  readonly name: string
  /** What it is. */
  readonly role: Role
  /** Number of its node, from 1. */
  readonly node: number
}

/** Port that the policy lets the empire's ships land on. */
export const LANDING_PORT = 80

/** Another port on which the deathstar answers, and which the policy does not name. */
export const EXHAUST_PORT = 81

const LABELS: Readonly<Record<Role, Readonly<Record<string, string>>>> = {
  deathstar: { org: 'empire', class: 'deathstar' },
  tiefighter: { org: 'empire', class: 'tiefighter' },
  xwing: { org: 'alliance', class: 'xwing' },
}

/** Who is to be attacked. */
export const DEATHSTAR: Member = { name: 'deathstar', role: 'deathstar', node: 1 }

/** A ship of each side on the node of the deathstar, and on the next one if there is one. */
export function ships(nodes: number): readonly Member[] {
  return [1, 2]
    .filter((node) => node <= nodes)
    .flatMap((node) => (['tiefighter', 'xwing'] as const).map((role) => ({ name: `${role}-${node}`, role, node })))
}

/** A pod of the cast as the API server tells agents of it. */
export function podManifest({ name, role }: Member, nodeName: string): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: DEMO_NAMESPACE, name, labels: LABELS[role] }, spec: { nodeName } }
}

/** The policy of Cilium's demo, for layers 3 and 4: who is of the empire may land, and may do nothing else. */
export const POLICY: object = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { namespace: DEMO_NAMESPACE, name: 'rule1' },
  spec: {
    endpointSelector: { matchLabels: LABELS.deathstar },
    ingress: [
      { fromEndpoints: [{ matchLabels: { org: 'empire' } }], toPorts: [{ ports: [{ port: String(LANDING_PORT), protocol: 'TCP' }] }] },
    ],
  },
}
