/** How the demo is deployed. */
export interface StarwarsApp {
  /** Namespace, made for it and removed with it. */
  readonly namespace: string
  /** Image of the deathstar. */
  readonly image: string
  /** Image of the ships; it has curl. */
  readonly shipImage: string
  /** Nodes that it runs on; wherever the scheduler likes for none. */
  readonly nodes: readonly string[]
}

/** An object of Kubernetes as it is applied. */
export type Manifest = Readonly<Record<string, unknown>>

/** Label that says that a namespace is ours, and may be removed. */
export const OWNER_LABEL = { 'app.kubernetes.io/managed-by': 'offload-verify' } as const

/** Name of the one policy; each later one takes the place of the one before. */
export const POLICY = 'landing'

/** Path that every ship may be let in by. */
export const LANDING = '/v1/request-landing'

/** Path that no ship should be let in by. */
export const EXHAUST_PORT = '/v1/exhaust-port'

const ACCOUNT = 'starwars'

const DEATHSTAR = { org: 'empire', class: 'deathstar' } as const

/** The namespace. */
export function namespaceManifest({ namespace }: StarwarsApp): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: OWNER_LABEL } }
}

/** A service with backends, a ship that belongs to them and one that does not. */
export function appManifests(app: StarwarsApp): readonly Manifest[] {
  const first = app.nodes.slice(0, 1)
  const last = app.nodes.slice(-1)
  return [
    // Its own: a namespace that has just been made has no default one yet, and without any its pods would be refused.
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { namespace: app.namespace, name: ACCOUNT },
      automountServiceAccountToken: false,
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: app.namespace, name: 'deathstar' },
      spec: { selector: DEATHSTAR, ports: [{ port: 80, protocol: 'TCP' }] },
    },
    deathstar(app),
    // On different nodes where there are several: what one of them is refused or given has crossed the network.
    ship(app, 'tiefighter', 'empire', first),
    ship(app, 'xwing', 'alliance', last),
  ]
}

/** Lets in ships of the empire, at port 80: layers 3 and 4. */
export function l3l4Policy({ namespace }: StarwarsApp): Manifest {
  return policy(namespace, { ports: [{ port: '80', protocol: 'TCP' }] })
}

/** As {@link l3l4Policy}, but they may only land: layer 7. */
export function l7Policy({ namespace }: StarwarsApp): Manifest {
  return policy(namespace, { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ method: 'POST', path: LANDING }] } })
}

function policy(namespace: string, toPorts: object): Manifest {
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace, name: POLICY },
    spec: {
      endpointSelector: { matchLabels: DEATHSTAR },
      ingress: [{ fromEndpoints: [{ matchLabels: { org: 'empire' } }], toPorts: [toPorts] }],
    },
  }
}

function deathstar({ namespace, image, nodes }: StarwarsApp): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace, name: 'deathstar', labels: DEATHSTAR },
    spec: {
      replicas: Math.max(2, nodes.length),
      selector: { matchLabels: DEATHSTAR },
      template: {
        metadata: { labels: DEATHSTAR },
        spec: {
          ...podSpec(nodes),
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: 'kubernetes.io/hostname',
              whenUnsatisfiable: nodes.length > 1 ? 'DoNotSchedule' : 'ScheduleAnyway',
              labelSelector: { matchLabels: DEATHSTAR },
            },
          ],
          // No probes: under a policy they may be refused, which is another thing to verify.
          containers: [{ name: 'deathstar', image, ports: [{ containerPort: 80 }] }],
        },
      },
    },
  }
}

function ship({ namespace, shipImage }: StarwarsApp, name: string, org: string, nodes: readonly string[]): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels: { org, class: name } },
    spec: { ...podSpec(nodes), containers: [{ name: 'ship', image: shipImage }] },
  }
}

function podSpec(nodes: readonly string[]): Manifest {
  const terms = nodes.map((name) => ({ matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] }))
  return {
    terminationGracePeriodSeconds: 1,
    serviceAccountName: ACCOUNT,
    ...(terms.length === 0
      ? {}
      : { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } } }),
  }
}
