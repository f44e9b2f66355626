import { z } from 'zod'
import type { FakePodObject } from './labels.ts'
import type { FakeIngressRule, FakePolicy, LabelSelector } from './policy.ts'

/** What tells objects of one kind apart. */
export interface ManifestMetadata {
  /** Kubernetes namespace; `default` if left out. */
  readonly namespace: string
  /** Name. */
  readonly name: string
  /** UID. */
  readonly uid?: string | undefined
  /** Labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Annotations. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/** A pod as it is written for `kubectl apply`; what a fake agent has no use for is ignored. */
export interface PodManifest {
  readonly kind: 'Pod'
  readonly metadata: ManifestMetadata
  readonly spec?: { readonly nodeName?: string | undefined } | undefined
}

interface Selector {
  readonly matchLabels?: LabelSelector | undefined
}

interface IngressManifest {
  readonly fromEndpoints?: readonly Selector[] | undefined
  readonly toPorts?: readonly { readonly ports: readonly { readonly port: string; readonly protocol: 'TCP' | 'UDP' }[] }[] | undefined
}

/** A policy for layers 3 and 4 as it is written for `kubectl apply`. What a fake agent cannot enforce is refused. */
export interface PolicyManifest {
  readonly kind: 'CiliumNetworkPolicy'
  readonly metadata: ManifestMetadata
  readonly spec: { readonly endpointSelector: Selector; readonly ingress: readonly IngressManifest[] }
}

/** An object that a {@link FakeCluster} takes. */
export type ClusterManifest = PodManifest | PolicyManifest

const text = z.string().min(1)
const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'a name of Kubernetes')

const metadata = z.looseObject({
  namespace: name.default('default'),
  name,
  uid: text.optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
})

const selector = z.strictObject({ matchLabels: z.record(z.string(), z.string()).optional() })

const port = z.strictObject({
  port: z.string().regex(/^([1-9]\d{0,4})$/, 'a number in quotes'),
  protocol: z.enum(['TCP', 'UDP']),
})

const pod = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Pod'),
  metadata,
  spec: z.looseObject({ nodeName: text.optional() }).optional(),
})

const policy = z.strictObject({
  apiVersion: z.literal('cilium.io/v2'),
  kind: z.literal('CiliumNetworkPolicy'),
  metadata,
  spec: z.strictObject({
    description: z.string().optional(),
    endpointSelector: selector,
    ingress: z.array(
      z.strictObject({
        fromEndpoints: z.array(selector).optional(),
        toPorts: z.array(z.strictObject({ ports: z.array(port).min(1) })).optional(),
      }),
    ),
  }),
})

/** Schema of an object of a cluster. */
export const clusterManifest: z.ZodType<ClusterManifest> = z.discriminatedUnion('kind', [pod, policy])

/** A pod as the agent learns of it. */
export function podOf({ metadata: { namespace, name, uid, labels, annotations }, spec }: PodManifest): FakePodObject {
  return {
    namespace,
    name,
    uid: uid ?? '',
    ...(spec?.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  }
}

const NAMESPACE = 'io.kubernetes.pod.namespace'

/** A policy as the agent enforces it. It is for pods of its own namespace, and so are its sources if they do not name another. */
export function policyOf({ metadata: { namespace }, spec }: PolicyManifest): FakePolicy {
  const within = ({ matchLabels = {} }: Selector): LabelSelector => ({
    [NAMESPACE]: namespace,
    ...Object.fromEntries(Object.entries(matchLabels).map(([key, value]) => [key.replace(/^(k8s|any):/, ''), value])),
  })
  return {
    endpointSelector: { ...within(spec.endpointSelector), [NAMESPACE]: namespace },
    ingress: spec.ingress.map(({ fromEndpoints, toPorts }): FakeIngressRule => ({
      ...(fromEndpoints === undefined ? {} : { fromEndpoints: fromEndpoints.map(within) }),
      ...(toPorts === undefined
        ? {}
        : { toPorts: toPorts.flatMap(({ ports }) => ports.map(({ port, protocol }) => ({ port: Number(port), protocol }))) }),
    })),
  }
}
